"""The log: one line an event, each with the id of the request that it belongs to, as text or as JSON."""

import logging
import logging.config
import re
from contextvars import ContextVar
from typing import Literal

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="-")
TEXT = "%(asctime)s %(levelname)s %(name)s request=%(request_id)s %(message)s"
JSON = "%(asctime)s %(levelname)s %(name)s %(request_id)s %(message)s"

JOB_PATH = re.compile(r"(/+jobs/+)[^/]+")


class WithRequestId(logging.Filter):
    """Gives every record its `request_id`, "-" outside of requests."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = REQUEST_ID.get()
        return True


def configure_logging(level: str, format: Literal["text", "json"]) -> None:
    """Write the log to stderr."""
    json = {"()": "pythonjsonlogger.json.JsonFormatter", "fmt": JSON, "json_ensure_ascii": True}
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "filters": {"request": {"()": WithRequestId}},
            "formatters": {"log": json if format == "json" else {"format": TEXT}},
            "handlers": {"log": {"class": "logging.StreamHandler", "formatter": "log", "filters": ["request"]}},
            "root": {"handlers": ["log"], "level": level.upper()},
        }
    )


def hide_ids(path: str) -> str:
    """A request's path without the id of a job: whoever knows that may fetch the job's video."""
    return JOB_PATH.sub(r"\1*", path)
