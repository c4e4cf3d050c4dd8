"""A shard without its door: the model on the thread of its steps, and the desk for its images."""

import os
import traceback
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass

import torch
from transformers import AutoModelForImageTextToText

from inlay_proto import generate_pb2 as pb
from inlay_shard.config import ShardConfig
from inlay_shard.encoder.encoder import Encoder, check_replicated
from inlay_shard.images.desk import ImageDesk
from inlay_shard.images.embedding import Eyes
from inlay_shard.images.features import FeatureCache, default_cache_bytes
from inlay_shard.images.image_process import ProcessDied, ProcessHung
from inlay_shard.images.image_workers import ImageWorkers
from inlay_shard.lines import say
from inlay_shard.model import architecture
from inlay_shard.model.loading import Report
from inlay_shard.model.network import Network
from inlay_shard.model.plugins import find_adapter
from inlay_shard.startup import start
from inlay_shard.steps.engine import Engine
from inlay_shard.steps.worker import StepThread


@dataclass(frozen=True)
class Served:
    """What there is to serve once the model is loaded."""

    facts: pb.ModelFacts
    eyes: Eyes | None
    """None when the model takes no images."""


@dataclass(frozen=True, kw_only=True)
class Listener:
    """Who is told what becomes of a shard. All are called on the thread of its steps."""

    on_ready: Callable[[Served], None]
    """The model is loaded."""
    on_failure: Callable[[BaseException], None]
    """It could not be loaded (ModelRefused if that is the model's fault), or a step failed: no
    step will run any more."""
    report: Report
    """What is being done, in words."""


class Shard:
    """One rank in this process. Whoever drives it speaks to its steps and its images."""

    def __init__(self, config: ShardConfig, workers: ImageWorkers, listener: Listener) -> None:
        """Nothing is loaded before `start`. `workers` may have begun to load their processor."""
        self._config = config
        self._workers = workers
        self._listener = listener
        self._features = FeatureCache()
        self._encoder: Encoder | None = None
        self.steps = StepThread(self._load, listener.on_failure)
        self.images = ImageDesk(workers, self._features, config.model)

    def start(self) -> None:
        """Begin to load."""
        self.steps.start()

    def stop(self) -> None:
        """Run what was submitted, then end the threads and the workers, and let the model go."""
        self.steps.stop()
        if self._encoder is not None:
            self._encoder.stop()
        self._workers.stop()

    def _load(self) -> Engine:
        """On the thread of the steps, as everything below."""
        config, report = self._config, self._listener.report
        torch.set_num_threads(num_threads(config))
        asked = self._ask_for_images()
        ready = start(config, self._features, lambda: self._takes_images(asked), report)
        eyes = self._open_eyes(ready.network) if ready.facts.takes_images else None
        if eyes is not None:
            ready.engine.encoder_watch = eyes.encoder.watch
        ready.engine.on_row_failure = self._say_failure
        self._listener.on_ready(Served(ready.facts, eyes))
        return ready.engine

    def _say_failure(self, failure: Exception) -> None:
        """To the operator; the client is told in a sentence."""
        say(self._config, "".join(traceback.format_exception(failure)), level="ERROR")

    def _open_eyes(self, network: Network) -> Eyes:
        check_replicated(network)
        config = self._config
        max_bytes = config.image_cache_bytes or default_cache_bytes(network.device)
        self._features.max_bytes = max_bytes
        num_workers = self._workers.num_workers
        self._listener.report(f"image cache of {max_bytes >> 20} MiB, image workers: {num_workers}")
        self._encoder = Encoder(
            network,
            num_threads=self._num_encoder_threads,
            max_batch_images=config.max_batch_images if config.num_shards == 1 else 1,
        )
        return Eyes(network=network, encoder=self._encoder)

    def _num_encoder_threads(self) -> int:
        """All while no step runs. Ranks must agree to the last bit, so theirs is a fixed number."""
        most = num_threads(self._config)
        is_alone = self._config.num_shards == 1 and self.steps.is_idle
        return most if is_alone else max(1, most // 2)

    def _ask_for_images(self) -> Future[bool] | None:
        """Let a worker load the processor, if it does not do so already."""
        config = self._config
        has_adapter = find_adapter(config.model, config.plugins) is not None
        loader = architecture.auto_class(architecture.read_config(config.model))
        if not has_adapter and loader is not AutoModelForImageTextToText:
            return None
        return self._workers.ask_takes_images()

    def _takes_images(self, asked: Future[bool] | None) -> bool:
        if asked is None:
            return False
        report = self._listener.report
        report("loading the image processor")
        try:
            return asked.result()
        except (ProcessDied, ProcessHung):
            raise  # a model that could see yesterday must not come back blind
        except CancelledError:
            return False  # the workers were stopped, for this process is leaving
        except Exception as error:
            report(f"serving text alone, as the image processor does not load: {error}")
            return False


def num_threads(config: ShardConfig) -> int:
    """CPU threads that compute."""
    cores = len(os.sched_getaffinity(0))
    return config.num_threads or max(1, cores // config.num_shards)
