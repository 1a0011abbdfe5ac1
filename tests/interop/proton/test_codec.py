"""The values that the gateway's codec is tried with are encoded as Proton does it."""
import pathlib

from encodings_of_proton import lines


def test_the_vectors_are_what_proton_writes():
    vectors = pathlib.Path(__file__).parents[3] / "crates/amqp-types/tests/vectors/proton.txt"
    assert vectors.read_text().splitlines() == list(lines())
