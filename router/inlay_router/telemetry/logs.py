"""Log lines on standard error: words for a person, or one JSON object a line for a collector."""

import json
import logging
import sys
from datetime import UTC, datetime


class _Lines(logging.Handler):
    """Writes to what standard error is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


class _JsonLines(logging.Formatter):
    """TGI's keys."""

    def format(self, record: logging.LogRecord) -> str:
        words = record.getMessage()
        if record.exc_info:
            words += "\n" + self.formatException(record.exc_info)
        return json_line(words, level=record.levelname, target=record.name)


def set_up_logging(source: str, *, is_json: bool) -> None:
    """Send warnings and errors of this process to standard error; `source` names it in words."""
    handler = _Lines()
    handler.setFormatter(_JsonLines() if is_json else logging.Formatter(f"{source}: %(message)s"))
    root = logging.getLogger()
    root.handlers = [other for other in root.handlers if not isinstance(other, _Lines)]
    root.addHandler(handler)


def json_line(message: str, *, level: str = "INFO", target: str = "inlay") -> str:
    """One line of a JSON log."""
    moment = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = {"timestamp": moment, "level": level, "message": message, "target": target}
    return json.dumps(line, ensure_ascii=False)
