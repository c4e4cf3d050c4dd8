"""A gRPC channel to each rank, and others once the certificates were exchanged."""

import logging
from collections.abc import Sequence

import grpc
import grpc.aio

from inlay_proto.generate_pb2_grpc import ShardStub
from inlay_proto.transport import TlsFiles, TransportRefused, channel_credentials
from inlay_proto.watched_files import WatchedFiles

_log = logging.getLogger("inlay.router")

_GRACE_SECONDS = 5.0
_MESSAGE_BYTES_MAX = 256 << 20
_OPTIONS = (
    ("grpc.max_send_message_length", _MESSAGE_BYTES_MAX),
    ("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX),
    ("grpc.enable_http_proxy", 0),
    # A shard that comes back is found within a second, not after gRPC's two minutes.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


class Channels:
    """Over which all ranks of a replica are spoken to."""

    def __init__(self, addresses: Sequence[str], tls: TlsFiles | None) -> None:
        """Opens nothing yet. Raises TransportRefused when the certificates cannot be used."""
        self.stubs: list[ShardStub] = []
        """One a rank, while the channels are open."""
        self._addresses = tuple(addresses)
        self._tls = tls
        self._channels: list[grpc.aio.Channel] = []
        if tls is not None:
            self._credentials = channel_credentials(tls)
            self._watched = WatchedFiles(*tls.paths)

    async def open(self) -> None:
        """Open them, or other ones where the certificates are others by now."""
        if self._were_exchanged():
            await self.close(grace=_GRACE_SECONDS)
        if not self._channels:
            self._channels = [self._channel(address) for address in self._addresses]
            self.stubs = [ShardStub(channel) for channel in self._channels]  # type: ignore[no-untyped-call]

    async def close(self, grace: float | None = None) -> None:
        """What goes over them may take `grace` seconds to end, None for no time."""
        channels, self._channels, self.stubs = self._channels, [], []
        for channel in channels:
            await channel.close(grace)

    def _were_exchanged(self) -> bool:
        if self._tls is None or not self._watched.have_changed():
            return False
        try:
            self._credentials = channel_credentials(self._tls)
        except TransportRefused as refusal:
            _log.warning("certificates changed and cannot be used, the old ones stay: %s", refusal)
            return False
        _log.warning("certificates for shards were read again")
        return True

    def _channel(self, address: str) -> grpc.aio.Channel:
        if self._tls is None:
            return grpc.aio.insecure_channel(address, options=_OPTIONS)
        return grpc.aio.secure_channel(address, self._credentials, options=_OPTIONS)
