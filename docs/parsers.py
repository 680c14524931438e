# SPDX-License-Identifier: MIT
"""What `shmemext --help` says, as a part of a page: {command} ls is all of a
command, {command} alone what is before one; {statuses} is how it ends."""

import argparse
from functools import partial

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from shmemext._command.arguments import build
from shmemext._command.status import MEANING


class Command(SphinxDirective):
    optional_arguments = 1

    def run(self):
        parser, commands = build()
        one = commands[self.arguments[0]] if self.arguments else parser
        one.formatter_class = partial(argparse.HelpFormatter, width=79)
        one.color = False  # since Python 3.14 it has some
        usage = one.format_usage().removeprefix("usage: ").rstrip()
        usage = usage.replace("\n       ", "\n")
        rows = [
            (code, help)
            for action in sorted(one._actions, key=is_option)
            for code, help in self.rows(action)
        ]
        text, _, columns = one.description.partition("\n\ncolumns:\n")
        legend = [line.split("\t") for line in columns.splitlines()]
        legend = [([word.strip()], meaning) for word, meaning in legend]
        return [
            nodes.paragraph("", text),
            nodes.literal_block(usage, usage, language="text"),
            table(("", "what it does"), rows),
            *([table(("column", "what it says"), legend)] if legend else []),
        ]

    def rows(self, action):
        if isinstance(action, argparse._SubParsersAction):
            for choice in action._choices_actions:
                yield [choice.dest], choice.help
            return
        spelt = action.option_strings or [action.metavar]
        if action.option_strings and action.metavar:
            spelt = [f"{option} {action.metavar}" for option in spelt]
        yield spelt, action.help or ""


class Statuses(SphinxDirective):
    def run(self):
        rows = [([str(one)], meaning) for one, meaning in MEANING.items()]
        return [table(("exit status", "when"), rows)]


def is_option(action):
    return bool(action.option_strings)


def table(titles, rows):
    group = nodes.tgroup(cols=2)
    group += [nodes.colspec(colwidth=width) for width in (25, 75)]
    head, body = nodes.thead(), nodes.tbody()
    head += row(*(nodes.paragraph("", title) for title in titles))
    for codes, text in rows:
        spelt = nodes.paragraph()
        for number, code in enumerate(codes):
            spelt += [nodes.Text(", ")] * (number > 0)
            spelt += nodes.literal(code, code)
        body += row(spelt, nodes.paragraph("", text))
    group += [head, body]
    return nodes.table("", group)


def row(*cells):
    return nodes.row("", *(nodes.entry("", cell) for cell in cells))


def setup(app):
    app.add_directive("command", Command)
    app.add_directive("statuses", Statuses)
    return {"parallel_read_safe": True}
