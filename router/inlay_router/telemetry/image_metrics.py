"""What `/metrics` shows of the images of prompts, and of the time that preparing them takes."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from inlay_proto import generate_pb2 as pb

_SECONDS = tuple(0.00015 * 1.5**power for power in range(1, 36))
_NANOSECONDS = 1e9


class ImageMetrics:
    """Counts images, and measures the prompts that had to wait for some."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._images = Counter("inlay_image_count", "Images of prompts", registry=registry)
        self._known = Counter(
            "inlay_image_known_count", "Images that had been embedded before", registry=registry
        )
        self.fetch = self._seconds("fetch", "From the web: one image")
        self.check = self._seconds("check", "Reading the header: one image")
        unknown = "the images of a prompt that were not known"
        self._queue = self._seconds("queue", f"Waiting for a worker: {unknown}")
        self._prepare = self._seconds("prepare", f"The model's processor: {unknown}")
        self._encode = self._seconds("encode", f"The encoder, and waiting for it: {unknown}")

    def prepared(self, reply: pb.PrepareReply) -> None:
        """A prompt is ready."""
        self._images.inc(len(reply.images))
        self._known.inc(reply.num_known_images)
        if reply.num_known_images < len(reply.images):
            self._queue.observe(reply.timings.queue / _NANOSECONDS)
            self._prepare.observe(reply.timings.prepare / _NANOSECONDS)
            self._encode.observe(reply.timings.encode / _NANOSECONDS)

    def _seconds(self, part: str, words: str) -> Histogram:
        return Histogram(
            f"inlay_image_{part}_duration",
            f"Seconds. {words}",
            buckets=_SECONDS,
            registry=self._registry,
        )
