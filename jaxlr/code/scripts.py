"""Whole scripts: the function that constructs, such as `main`, in the place of its call."""

import ast
from collections.abc import Collection, Sequence

from jaxlr._checks import shorten
from jaxlr.code.builders import body_for_call
from jaxlr.code.syntax import source_of


_IS_MAIN = ("__name__ == '__main__'", "'__main__' == __name__")


def flattened(statements: Sequence[ast.stmt], known: Collection[str]) -> list[ast.stmt]:
    """Replace the function that constructs `known` classes by its statements.

    A script seldom constructs at its top. It does so in a `main`, in a method, or in functions that these
    call. A function whose result is used stays a function. One that the text does not call is read last.

    Raises:
        ValueError: several functions construct, and none of them calls the others.
    """
    top: list[ast.stmt] = []
    for each in statements:
        match each:
            case ast.If(test=test, body=body) if source_of(test) in _IS_MAIN:
                top += body
            case _:
                top.append(each)
    functions = {each.name: each for each in top if isinstance(each, ast.FunctionDef)}
    classes = [each for each in top if isinstance(each, ast.ClassDef)]
    methods = {id(each): _methods(each) for each in classes}
    everything = [*functions.values(), *(each for own in methods.values() for each in own)]
    building = [each for each in everything if _calls(each.body, known)]
    while more := [
        e for e in everything if e not in building and _calls(e.body, _names(building), whole=True)
    ]:
        building += more
    rest = [each for each in top if not isinstance(each, ast.FunctionDef | ast.ClassDef)]
    bare = [each for each in rest if _bare_call(each, building) is not None]
    others = [each for each in rest if each not in bare]
    if not building or _calls(others, known) or _calls(others, _names(building), whole=True):
        return [*statements]
    roots = [
        e for e in building if not any(_calls(o.body, [e.name], whole=True) for o in building if o is not e)
    ]
    called = [each for each in roots if any(_bare_call(call, [each]) is not None for call in bare)]
    roots = called or roots or building[:1]
    if len(roots) > 1:
        first, second = (repr(shorten(each.name.removeprefix("self."))) for each in roots[:2])
        raise ValueError(
            f"the text constructs in several functions, {first} and {second}: give the lines of one of them"
        )
    (root,) = roots
    owner = next((own for own in methods.values() if root in own), [])
    helpers = [each for each in owner if each in building and each is not root]
    left = [
        each
        for each in top
        if each is not root and not any(method in building for method in methods.get(id(each), []))
    ]
    places = [index for index, each in enumerate(left) if _bare_call(each, [root]) is not None]
    place, call = (
        (places[0], _bare_call(left[places[0]], [root])) if len(places) == 1 else (len(left), None)
    )
    before = [each for index, each in enumerate(left) if index < place and index not in places]
    after = [each for index, each in enumerate(left) if index > place and index not in places]
    return flattened([*helpers, *before, *_body(root, call), *after], known)


def _body(root: ast.FunctionDef, call: ast.Call | None) -> list[ast.stmt]:
    """Return the statements of a function, with the arguments of a call as its variables."""
    if call is not None and not root.decorator_list:  # a decorator may give other arguments
        try:
            return body_for_call(root, call, keeps_names=True)
        except ValueError:
            pass  # an argument is missing, so its parameter is a name that `names` must give
    return root.body


def _methods(owner: ast.ClassDef) -> list[ast.FunctionDef]:
    """Return the methods of a class as functions with the names by which they call each other."""
    own = (each for each in owner.body if isinstance(each, ast.FunctionDef))
    return [
        ast.copy_location(
            ast.FunctionDef(f"self.{e.name}", _without_self(e.args), e.body, e.decorator_list), e
        )
        for e in own
    ]


def _without_self(arguments: ast.arguments) -> ast.arguments:
    fields = dict(ast.iter_fields(arguments))
    if arguments.args and arguments.args[0].arg == "self":
        fields["args"] = arguments.args[1:]
    return ast.arguments(**fields)


def _names(functions: Sequence[ast.FunctionDef]) -> list[str]:
    return [each.name for each in functions]


def _bare_call(statement: ast.stmt, functions: Sequence[ast.FunctionDef]) -> ast.Call | None:
    """Return the call of one of the functions that is a whole statement, or None."""
    match statement:
        case ast.Expr(value=ast.Call() as call) if source_of(call.func) in _names(functions):
            return call
    return None


def _calls(body: Sequence[ast.stmt], names: Collection[str], whole: bool = False) -> bool:
    """Check if statements call one of the names: with their modules, or else by the last part alone."""
    sources = (
        source_of(each.func)
        for statement in body
        for each in ast.walk(statement)
        if isinstance(each, ast.Call)
    )
    return any((each if whole else each.rpartition(".")[2]) in names for each in sources)
