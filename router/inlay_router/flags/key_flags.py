"""The flags that say who may come in."""

from inlay_router.flags.flag import FILE, Flag, Group

KEYS = Group(
    "keys and TLS",
    (
        Flag(
            "api-key-file",
            "file of keys that clients may show, one a line, read again when it changes",
            FILE,
            absent="none",
        ),
        Flag(
            "tls-cert",
            "PEM file of a certificate chain: serve HTTPS; read again when it changes",
            FILE,
            aliases=("ssl-certfile",),
            absent="plain HTTP",
        ),
        Flag("tls-key", "PEM file of its key", FILE, aliases=("ssl-keyfile",), absent="none"),
    ),
)
