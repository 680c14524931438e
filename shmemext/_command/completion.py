# SPDX-License-Identifier: MIT
"""shmemext completion: a script for bash, made of what the parser has."""

import argparse
from collections.abc import Iterator

from .._survey import survey
from .output import Output
from .status import OK

WHAT = ("bash", "families")

# Commands whose names are those that they list.
_LISTS = ("locks", "channels", "pools")

# bash breaks words at = and : too, and replaces what comes after the last of
# them, its second argument. What of a name comes before stays where it is;
# COMP_LINE has all of it. Within quotes that are open it breaks nothing, and
# closes them: a name that they would not keep as it is is left out there.
_SCRIPT = r"""# bash completion for shmemext
_shmemext() {
    local self=${1/#\~/"${HOME-}"}
    local word=$2 before=${COMP_WORDS[COMP_CWORD - 1]}
    local odd=$'[[:cntrl:]"\'\\\\$`!]'
    local command= words= ended= place= list=ls line kept quote name quoted i
    if [[ $before == = ]]; then
        before=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        if [[ ${COMP_WORDS[i]} == -- ]]; then
            ended=yes
        elif [[ -z $command && ${COMP_WORDS[i]} != -* ]]; then
            command=${COMP_WORDS[i]}
        fi
    done
    if [[ $ended ]]; then
        before="-- $command "
    else
        before="$before $command $word"
    fi
    COMPREPLY=()
    case "$before" in
@CASES@
    *) return ;;
    esac
    if [[ -n $words ]]; then
        COMPREPLY=($(compgen -W "$words" -- "$word"))
        return
    fi
    line=${COMP_LINE:0:COMP_POINT}
    quote=${line%"$word"}
    quote=${quote:${#quote}-1}
    if [[ $quote == [\"\'] ]]; then
        line=$word
    else
        quote=
        [[ $line =~ ([^[:blank:]\\]|\\.)*$ ]]
        line=${BASH_REMATCH[0]}
    fi
    kept=${line%"$word"}
    case $line in
    /dev/shm/*) place=/dev/shm/ ;;
    /*) place=/ ;;
    esac
    while IFS= read -r -d '' name; do
        name=$place$name
        if [[ $quote ]]; then
            if [[ $name == "$line"* && $name != *$odd* ]]; then
                COMPREPLY+=("$name")
            fi
            continue
        fi
        printf -v quoted %q "$name"
        if [[ $quoted == "$line"* || $name == "$line"* ]]; then
            COMPREPLY+=("${quoted#"$kept"}")
        fi
    done < <("$self" "$list" --quiet --null 2> /dev/null)
}
complete -F _shmemext shmemext
"""


def run(options: argparse.Namespace, output: Output) -> int:
    if options.what == "bash":
        output.put(script().rstrip("\n"))
    else:
        found = survey(processes=False)
        ids = {one.family.id for one in found.segments if one.family}
        for id in sorted(ids):
            output.put(id[:8])
    return OK


def script() -> str:
    cases = "\n".join(f"    {pattern}) {do} ;;" for pattern, do in _cases())
    return _SCRIPT.replace("@CASES@", cases)


def _cases() -> Iterator[tuple[str, str]]:
    """What fits the word before, the command, which may be none yet, and the
    word; and what to do then. The first that fits counts."""
    from .arguments import build
    from .parser import options_of

    parser, commands = build()
    for option, words in _values([*commands.values()]).items():
        yield f'"{option} "*', words
    for name, one in {"": parser, **commands}.items():
        words = " ".join(options_of(one))
        yield f'*" {name} -"*', f'words="{words}"'
    yield '*"  "*', f'words="{" ".join(commands)}"'
    for name, one in commands.items():
        for action in one._actions:
            if action.metavar == "NAME":
                lists = f"list={name}" if name in _LISTS else ":"
                yield f'*" {name} "*', lists
            elif not action.option_strings and action.choices:
                words = " ".join(map(str, action.choices))
                yield f'*" {name} "*', f'words="{words}"'


def _values(parsers: list[argparse.ArgumentParser]) -> dict[str, str]:
    """Of options: they mean the same wherever they are."""
    found = {}
    for parser in parsers:
        for action in parser._actions:
            for option in action.option_strings:
                if action.choices:
                    words = " ".join(map(str, action.choices))
                    found[option] = f'words="{words}"'
                elif action.metavar == "ID":
                    asked = '$("$self" completion families 2> /dev/null)'
                    found[option] = f"words={asked}; [[ $words ]] || return"
                elif action.metavar == "AGE":
                    found[option] = 'words="10m 1h 1d"'
    return found
