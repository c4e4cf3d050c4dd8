"""What `/metrics` says of images."""

import asyncio
import base64
from io import BytesIO

from PIL import Image
from prometheus_client import CollectorRegistry
from scripted_router import serve

from inlay_proto import generate_pb2 as pb
from inlay_router.telemetry.image_metrics import ImageMetrics


def test_times_are_those_of_images_that_were_not_known() -> None:
    registry = CollectorRegistry()
    metrics = ImageMetrics(registry)
    timings = pb.PrepareTimings(queue=1_000_000, prepare=20_000_000, encode=3_000_000_000)
    images = [pb.ImagePlace(), pb.ImagePlace()]
    metrics.prepared(pb.PrepareReply(images=images, timings=timings, num_known_images=1))
    metrics.prepared(pb.PrepareReply(images=images, num_known_images=2))
    values = {
        name: registry.get_sample_value(f"inlay_image_{name}")
        for name in ("count_total", "known_count_total")
    }
    assert values == {"count_total": 4, "known_count_total": 3}
    for part, seconds in (("queue", 0.001), ("prepare", 0.02), ("encode", 3.0)):
        assert registry.get_sample_value(f"inlay_image_{part}_duration_sum") == seconds
        assert registry.get_sample_value(f"inlay_image_{part}_duration_count") == 1


def test_prompts_are_counted() -> None:
    buffer = BytesIO()
    Image.new("L", (3, 3)).save(buffer, "PNG")
    inputs = f"![](data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}) what?"

    async def scenario() -> list[float | None]:
        async with serve() as edge:
            await edge.service.admission.prompts.read(inputs)
            value = edge.service.metrics.registry.get_sample_value
            names = ("count_total", "check_duration_count", "fetch_duration_count")
            return [value(f"inlay_image_{name}") for name in names]

    assert asyncio.run(scenario()) == [1, 1, 0]
