"""Reads the properties of an XMP packet (ISO 16684-1), with a parser that expands no entities and fetches nothing."""

from xml.parsers import expat

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
MOST_BYTES = 2 << 20
MOST_DEPTH = 32
MOST_VALUES = 2_000
MOST_CHARACTERS = 20_000
"""Bounds of a packet, of the depth of its elements, of its values and of each; what lies beyond is left out."""


class _Refused(Exception):
    """The packet declares a document type, or is nested too deeply, as no writer of XMP does."""


class _Reader:
    """Collects the properties of the described picture, not those of the structures below them, such as its sources."""

    def __init__(self) -> None:
        self.found: dict[str, list[str]] = {}
        self._count = 0
        self._path: list[str] = []
        self._text: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._path.append(name)
        if len(self._path) > MOST_DEPTH:
            raise _Refused
        self._text = []
        properties = self._properties()
        if name == f"{RDF}Description" and not properties:
            for key, value in attributes.items():
                self._add(key, value)
        elif len(properties) == 1 and (resource := attributes.get(f"{RDF}resource")):
            self._add(properties[0], resource)

    def characters(self, text: str) -> None:
        if len(self._text) < MOST_VALUES:
            self._text.append(text)

    def end(self, name: str) -> None:
        properties = self._properties()
        if len(properties) == 1 and (text := "".join(self._text).strip()):
            self._add(properties[0], text)
        self._text = []
        self._path.pop()

    def refuse(self, *_: object) -> None:
        raise _Refused

    def _properties(self) -> list[str]:
        """Returns the elements on the path that are properties: those within rdf:RDF that are not RDF's own."""
        if f"{RDF}RDF" not in self._path:
            return []
        within = self._path[self._path.index(f"{RDF}RDF") :]
        return [name for name in within if not name.startswith(RDF)]

    def _add(self, name: str, value: str) -> None:
        self._count += 1
        if self._count <= MOST_VALUES:
            self.found.setdefault(name, []).append(value[:MOST_CHARACTERS])


def properties(packet: bytes) -> dict[str, list[str]]:
    """Returns the values of every property of the picture, by namespace and name joined.

    A property's value may be an attribute, an element's text, a resource, or the items of a list. Of a packet that is
    damaged, what stands before the damage is returned; of one with a document type, nothing.
    """
    start = packet.find(b"<")
    packet = (
        packet[max(0, start - start % 2) :] if packet[:2] in (b"\xff\xfe", b"\xfe\xff") else packet[max(0, start) :]
    )
    if len(packet) > MOST_BYTES:
        return {}
    reader = _Reader()
    parser = expat.ParserCreate(namespace_separator="")
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.characters
    parser.StartDoctypeDeclHandler = reader.refuse
    parser.EntityDeclHandler = reader.refuse
    try:
        parser.Parse(packet, True)
    except _Refused:
        return {}
    except (expat.ExpatError, ValueError, LookupError):  # damaged; LookupError: of an encoding that nobody knows
        pass
    return reader.found
