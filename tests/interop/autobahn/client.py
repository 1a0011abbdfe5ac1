# Runs cases of the Autobahn test suite against a server (CPython 2.7).
#
#     client.py URL FOLDER CASES MESSAGES
#
# CASES are patterns such as `1.*,9.4.*`; the reports go to FOLDER. MESSAGES is the number of
# messages of each case of groups 12 and 13, for which the suite has 1000.
import sys

from autobahntestsuite import wstest
from autobahntestsuite.case.case12_x_x import Case12_X_X, Case13_X_X

url, folder, cases, messages = sys.argv[1:]

for case in Case12_X_X + Case13_X_X:
    case.DESCRIPTION = case.DESCRIPTION.replace(str(case.COUNT), messages, 1)
    case.COUNT = int(messages)

wstest.start(
    {"mode": "fuzzingclient", "debug": False, "wsuri": None},
    {
        "outdir": folder,
        "servers": [{"agent": "passerelle", "url": url}],
        "cases": cases.split(","),
        "exclude-cases": [],
        "exclude-agent-cases": {},
    },
)
