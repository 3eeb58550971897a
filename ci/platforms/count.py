"""Counts what test programs say, holds it against places.tsv, and writes the table.

count.py count PLACE LOG SECONDS STATUS: prints what was counted, and saves it beside the log. Fails if a test failed, if
the place ended with an error, or if fewer checks passed than the row of the place says. Where a place says that it
cannot run at all, and why, that is printed and nothing counted.
count.py table FOLDER: writes RESULTS.md from all that has been counted in this folder; rows of other places stay.
"""

import json
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
RESULTS = os.path.join(HERE, "RESULTS.md")
HEAD = """# Where the suites were run

Made by `ci/platforms/run --write`, which runs all of them. *Skipped* are checks that
said, as they ran, that they or a part of them cannot run there;
*passed* are the others. The least that must pass stands in [places.tsv](places.tsv).

"""


def rows():
    with open(os.path.join(HERE, "places.tsv"), encoding="utf-8") as stream:
        lines = (line.rstrip("\n").split("\t") for line in stream)
        return {line[0]: (int(line[1]), line[2]) for line in lines if len(line) == 3 and line[0][:1] != "#"}


def count(place, log, seconds, status):
    least, what = rows()[place]
    with open(log, encoding="utf-8", errors="replace") as stream:
        text = stream.read().replace("\r", "")
    closing = re.findall(r"test result: \w+\. (\d+) passed; (\d+) failed;", text)
    ran, failed = (sum(int(line[column]) for line in closing) for column in (0, 1))
    # One check may skip several parts, each with its reason. Sizes and paths in a reason do not make it another one.
    said = set(re.findall(r"skipped: (.+?)(?: \((\w+)\))?: ([^\n]+)", text))
    checks = {(name, label) for name, label, _ in said}
    reasons = {}
    for name, label, reason in said:
        reasons.setdefault(reason.strip(), set()).add((name, label))
    absent = re.findall(r"^not run: ([^\n]+)", text, re.M)
    if absent and not closing and not int(status):
        print(f"{place}: not run: {absent[-1]}")
        return True
    result = {
        "place": place,
        "passed": max(0, ran - len(checks)),
        "failed": failed,
        "skipped": len(checks),
        "minutes": round(int(seconds) / 60, 1),
        "reasons": sorted(((len(who), reason) for reason, who in reasons.items()), key=lambda pair: (-pair[0], pair[1])),
        "absent": sorted(set(absent)),
    }
    with open(os.path.splitext(log)[0] + ".json", "w", encoding="utf-8") as stream:
        json.dump(result, stream)
    print(f"{place}: {result['passed']} passed, {result['skipped']} skipped, {failed} failed, {result['minutes']} minutes")
    for line in absent:
        print(f"{place}: not run: {line}")
    wrong = []
    if failed:
        wrong.append(f"{failed} tests failed")
    if int(status):
        wrong.append(f"it ended with status {status}")
    if result["passed"] < least:
        wrong.append(f"{result['passed']} passed, and places.tsv says {least} at least")
    for line in wrong:
        print(f"{place}: {line}")
    return not wrong


def table(folder):
    results = {}
    try:
        with open(RESULTS, encoding="utf-8") as stream:
            results = {row["place"]: row for row in map(json.loads, re.findall(r"<!-- (\{.*\}) -->", stream.read()))}
    except FileNotFoundError:
        pass
    for place in rows():
        try:
            with open(os.path.join(folder, place + ".json"), encoding="utf-8") as stream:
                results[place] = json.load(stream)
        except FileNotFoundError:
            pass
    out = [HEAD, "| place | what | passed | skipped | failed | minutes |\n|---|---|---|---|---|---|\n"]
    there = [(place, what, results[place]) for place, (_, what) in rows().items() if place in results]
    for place, what, row in there:
        numbers = f"{row['passed']} | {row['skipped']} | {row['failed']} | {row['minutes']}"
        out.append(f"| [{place}](places/{place}) | {what} | {numbers} |\n")
    out.append("\n## What was skipped, and why\n")
    for place, what, row in there:
        if row["reasons"] or row["absent"]:
            out.append(f"\n**{place}**\n\n")
        out += [f"- not run: {line}\n" for line in row["absent"]]
        out += [f"- {number}: {reason}\n" for number, reason in row["reasons"]]
    # From which the rows of places that are not run next time are taken.
    out.append("\n")
    out += [f"<!-- {json.dumps(row)} -->\n" for _, _, row in there]
    with open(RESULTS, "w", encoding="utf-8") as stream:
        stream.write("".join(out))


if sys.argv[1] == "count":
    sys.exit(0 if count(*sys.argv[2:]) else 1)
table(sys.argv[2])
