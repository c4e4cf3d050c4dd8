"""Every door that strangers' input comes to."""

from fuzz.answers import ANSWERS
from fuzz.bodies import BODIES
from fuzz.grammars import GRAMMARS
from fuzz.images import IMAGES
from fuzz.texts import DATA_URIS, MARKDOWN, URLS
from fuzz.wire import WIRE

TARGETS = (BODIES, ANSWERS, IMAGES, WIRE, URLS, MARKDOWN, DATA_URIS, GRAMMARS)
