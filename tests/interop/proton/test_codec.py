"""The values that the gateway's codec is tried with are encoded as Proton does it, and what it writes Proton reads."""
import pathlib

from encodings_of_proton import lines, shown
from proton import Data

VECTORS = pathlib.Path(__file__).parents[3] / "crates/amqp-types/tests/vectors"


def test_the_vectors_are_what_proton_writes():
    assert (VECTORS / "proton.txt").read_text().splitlines() == list(lines())


def test_proton_reads_what_the_gateway_writes():
    for line in (VECTORS / "written.txt").read_text().splitlines():
        encoded, _, wanted = line.partition(" ")
        encoded = bytes.fromhex(encoded)
        data = Data()
        assert data.decode(encoded) == len(encoded), line
        data.rewind()
        data.next()
        assert shown(data.get_object()) == wanted
