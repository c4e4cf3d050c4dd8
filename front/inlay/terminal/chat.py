"""A conversation at a terminal: what each line does."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from inlay.terminal.conversation import Controls, Conversation
from inlay.terminal.errors import NoTemplate, TerminalError
from inlay.terminal.pictures import picture_url
from inlay.terminal.schema_file import read_schema
from inlay.terminal.source import Pieces, Source
from inlay.terminal.typed_line import Picture, Text, read_line, unquoted, unseen_pictures

PROMPT = "> "
COMMANDS = ("/help", "/image", "/json", "/reset", "/quit")
HELP = """\
Type a question and Enter. Drop a picture's file into the line, or write its path or address.
  /image PATH    add a picture, by path or address, to the next question
  /json FILE     hold answers to the JSON schema in FILE; /json off lets them be
  /reset         forget the conversation
  /quit          leave, as Ctrl-D does
Ctrl-C stops an answer."""


class Chat:
    """Runs a conversation."""

    def __init__(
        self, source: Source, controls: Controls, *, print_piece: Callable[[str], None]
    ) -> None:
        """`print_piece` shows a text at once, and adds no end of line."""
        self._source = source
        self._controls = controls
        self._print_piece = print_piece
        self._conversation = Conversation()
        self._pictures: list[Picture] = []
        """Given, and not asked about yet."""
        self._has_template = True

    def run(self, read: Callable[[str], str]) -> None:
        """Answer lines until one is `/quit`, or `read` raises EOFError."""
        while True:
            try:
                line = read(PROMPT).strip()
            except EOFError:
                self._say("")
                return
            except KeyboardInterrupt:
                self._say("\n(Ctrl-D leaves)")
                continue
            if line == "/quit":
                return
            try:
                self.take(line)
            except TerminalError as error:
                self._say(f"({error})")

    def take(self, line: str) -> None:
        """Do what a line says. Raises TerminalErrors, after which the conversation is as before."""
        command, _, argument = line.partition(" ")
        argument = argument.strip()
        match command:
            case "":
                pass
            case "/help":
                self._say(HELP)
            case "/reset":
                self._reset()
            case "/image":
                self._hold(argument)
            case "/json":
                self._hold_to(argument)
            case _:
                self._talk(line)

    def _say(self, words: str) -> None:
        self._print_piece(f"{words}\n")

    def _reset(self) -> None:
        self._conversation.reset()
        self._pictures.clear()
        self._say("(everything is forgotten)")

    def _hold(self, argument: str) -> None:
        if not argument:
            raise TerminalError("/image needs a path or an address")
        name = unquoted(argument)
        picture_url(name)  # what is no picture is said now, not with the next question
        self._keep([Picture(name)])

    def _keep(self, found: list[Picture]) -> None:
        self._pictures += found
        self._say(f"({_num_pictures(len(self._pictures))} for your next question)")

    def _hold_to(self, argument: str) -> None:
        if not argument:
            raise TerminalError("/json needs the path of a schema, or off")
        if argument == "off":
            self._controls = replace(self._controls, schema=None)
            self._say("(answers are free; /json FILE holds them to a schema)")
            return
        schema = read_schema(Path(unquoted(argument)))
        self._controls = replace(self._controls, schema=schema)
        self._say("(answers are held to the schema; /json off lets them be)")

    def _talk(self, line: str) -> None:
        pieces = read_line(line)
        found = [piece for piece in pieces if isinstance(piece, Picture)]
        if len(found) == len(pieces):
            for picture in found:
                picture_url(picture.name)
            self._keep(found)
            return
        if line.startswith("/") and isinstance(pieces[0], Text):
            raise TerminalError(f"there is no command {line.split()[0]}; /help lists them")
        for name in unseen_pictures(pieces):
            self._say(f"(there is no file {name}: it is taken as text)")
        self._conversation.ask([*self._pictures, *pieces])
        texts: list[str] = []
        try:
            ending = self._answer(texts)
        finally:
            self._conversation.answered("".join(texts))
        self._say(ending)
        if texts:
            self._pictures.clear()

    def _answer(self, texts: list[str]) -> str:
        """Show the answer, and put it into `texts` as far as it came; what to say behind it."""
        try:
            with closing(self._pieces()) as pieces:
                for piece in pieces:
                    if isinstance(piece, str):
                        texts.append(piece)
                        self._print_piece(piece)
                    elif piece.finish_reason == "length":
                        return f"\n(cut at {piece.num_answer_tokens} tokens)"
        except KeyboardInterrupt:
            return " (stopped)"
        except TerminalError:
            self._print_piece("\n" if texts else "")
            raise
        return ""

    def _pieces(self) -> Pieces:
        if self._has_template:
            try:
                yield from self._source.chat(self._conversation.chat(self._controls))
                return
            except NoTemplate:
                self._has_template = False
                self._say("(the model has no chat template: it goes on from plain text)")
        yield from self._source.plain(self._conversation.plain(self._controls))


def _num_pictures(number: int) -> str:
    return "1 picture" if number == 1 else f"{number} pictures"
