"""What the README tells a newcomer to type does what it says."""
import pathlib
import re

from conftest import HOST, PORT, Peer


def test_the_code_for_python_runs():
    readme = (pathlib.Path(__file__).parents[3] / "README.md").read_text()
    code = re.search(r"```python\n(.*?)```", readme, re.DOTALL).group(1)
    code = code.replace('("127.0.0.1", 8080)', f'("{HOST}", {PORT})')
    listener = Peer("tcp-1.2")
    listener.connection.subscribe("/topic/news", id="1", headers={"receipt": "r"})
    assert listener.receipts.get(timeout=5) == "r"
    names = {}
    exec(code, names)
    assert listener.messages.get(timeout=5).body == "hello from Python"
    names["connection"].disconnect()
    listener.connection.disconnect()
