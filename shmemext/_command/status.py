# SPDX-License-Identifier: MIT
"""How the command ends."""

OK = 0
FAILED = 1
USAGE = 2
INTERRUPTED = 130  # 128 and SIGINT, as a shell shows it
UNHEARD = 141  # and SIGPIPE

MEANING = {
    OK: "all went well",
    FAILED: "something did not, and standard error says what",
    USAGE: "the arguments are wrong, and nothing was done",
    INTERRUPTED: "interrupted",
    UNHEARD: "nobody reads the output any more",
}
