"""The other spellings of assignments and conditions, such as `setattr(args, "lr", 0.1)`, as plain ones."""

import ast
from collections.abc import Sequence

from jaxlr.code.methods import changes
from jaxlr.code.syntax import calls_in, names_stored, nodes_in, parse_expression, source_of, unreadable


# The variables of a script as a mapping. In a function, the last two are a copy of its own variables.
_TABLES = ("globals()", "locals()", "vars()")


def with_plain_assignments(statements: Sequence[ast.stmt]) -> list[ast.stmt]:
    """Replace `setattr(x, "a", 1)`, `vars(x)["a"]` and `x.__dict__.update(a=1)` by `x.a = 1` and `x.a`.

    Raises:
        ValueError: the text assigns variables whose names it computes, as in `globals()[key] = 1`.
    """
    plain = _Plain().visit(ast.Module([*statements], [])).body
    _check_names(plain)
    return plain


def as_conditions(statement: ast.Match) -> ast.If | None:
    """Return a `match` with constant patterns as nested `if` statements, or None for other patterns."""
    orelse: list[ast.stmt] = []
    for case in reversed(statement.cases):
        test = _test(statement.subject, case.pattern)
        if test is None or case.guard is not None:
            return None
        orelse = [ast.If(test, case.body, orelse)]
    first = orelse[0]
    assert isinstance(first, ast.If)
    return first


def _test(subject: ast.expr, pattern: ast.pattern) -> ast.expr | None:
    match pattern:
        case ast.MatchValue(value=value):
            return ast.Compare(subject, [ast.Eq()], [value])
        case ast.MatchSingleton(value=value):
            return ast.Compare(subject, [ast.Is()], [ast.Constant(value)])
        case ast.MatchAs(pattern=None, name=None):
            return ast.Constant(value=True)
        case ast.MatchOr(patterns=patterns):
            tests = [_test(subject, each) for each in patterns]
            known = [test for test in tests if test is not None]
            return ast.BoolOp(ast.Or(), known) if len(known) == len(tests) else None
    return None


class _Plain(ast.NodeTransformer):
    def __init__(self) -> None:
        self._own: set[str] | None = None  # the variables of the function around the node
        self._shared: set[str] = set()  # those that it shares with the script

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.stmt:
        """Declare the variables that `globals()["a"] = 1` assigns in a function."""
        outer, shared = self._own, self._shared
        parameters = {each.arg for each in nodes_in([node]) if isinstance(each, ast.arg)}
        declared = [each for each in nodes_in([node]) if isinstance(each, ast.Global)]
        own = parameters | names_stored(node.body) | (outer or set())
        self._own, self._shared = own - {name for each in declared for name in each.names}, set()
        self.generic_visit(node)
        if self._shared:
            node.body.insert(0, ast.copy_location(ast.Global(sorted(self._shared)), node))
        self._own, self._shared = outer, shared
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """Replace `eval("a")` by `a`."""
        self.generic_visit(node)
        match node:
            case ast.Call(func=ast.Name(id="eval"), args=[ast.Constant(value=str() as text)]):
                try:
                    return self.visit(parse_expression(text))
                except (SyntaxError, ValueError):
                    pass
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        """Replace `type(x).a` by `x.__class__.a`, and `x.__getitem__` by a lambda."""
        self.generic_visit(node)
        if node.attr == "__getitem__":
            item = ast.Subscript(node.value, ast.Name("_index", ast.Load()), ast.Load())
            return ast.copy_location(
                ast.Lambda(ast.arguments([], [ast.arg("_index")], None, [], [], None, []), item), node
            )
        match node.value:
            case ast.Call(func=ast.Name(id="type"), args=[owner], keywords=[]):
                node.value = ast.copy_location(ast.Attribute(owner, "__class__", ast.Load()), node)
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        """Replace `vars(x)["a"]` by `x.a`, and `globals()["a"]` by `a`."""
        self.generic_visit(node)
        return self._plain(node.value, node.slice, node.ctx) or node

    def visit_Expr(self, node: ast.Expr) -> ast.stmt | list[ast.stmt]:
        """Replace a call that sets attributes by assignments."""
        self.generic_visit(node)
        match node.value:
            case ast.Call(func=func, args=[owner, key, value]) if _sets_attribute(func):
                table = ast.Attribute(owner, "__dict__", ast.Load())
                target = self._plain(table, key, ast.Store()) or ast.Subscript(table, key, ast.Store())
                return ast.copy_location(ast.Assign([target], value), node)
            case ast.Call(func=ast.Attribute(value=table, attr="update"), args=args, keywords=keywords):
                pairs = [(ast.Constant(each.arg), each.value) for each in keywords]
                if len(args) < 2:
                    return self._updated(node, table, args, pairs)
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt | list[ast.stmt]:
        """Replace `x.__dict__ |= {"a": 1}` by assignments."""
        self.generic_visit(node)
        return self._updated(node, node.target, [node.value]) if isinstance(node.op, ast.BitOr) else node

    def _updated(
        self,
        node: ast.stmt,
        table: ast.expr,
        args: Sequence[ast.expr],
        keywords: Sequence[tuple[ast.expr, ast.expr]] = (),
    ) -> ast.stmt | list[ast.stmt]:
        """Return assignments instead of a statement that updates a table, if all names are known."""
        pairs = [*keywords]
        match args:
            case []:
                pass
            case [ast.Dict(keys, values)]:
                pairs += [
                    (key or ast.Constant(None), value) for key, value in zip(keys, values, strict=True)
                ]
            case _:
                return node
        found = [(self._plain(table, key, ast.Store()), value) for key, value in pairs]
        assigned = [ast.Assign([target], value) for target, value in found if target is not None]
        is_plain = assigned and len(assigned) == len(found)
        return [ast.copy_location(each, node) for each in assigned] if is_plain else node

    def _plain(self, table: ast.expr, key: ast.expr, ctx: ast.expr_context) -> ast.expr | None:
        """Return the attribute or name that stands for an item of `vars(x)` or `globals()`, or None."""
        if not isinstance(key, ast.Constant) or not isinstance(name := key.value, str):
            return None
        match table:
            case (
                ast.Call(func=ast.Name(id="vars"), args=[owner])
                | ast.Attribute(value=owner, attr="__dict__")
            ):
                return self.visit_Attribute(ast.copy_location(ast.Attribute(owner, name, ctx), table))
        if (source := source_of(table)) not in _TABLES:
            return None
        is_copy = self._own is not None and source != "globals()"
        if (is_copy and isinstance(ctx, ast.Store)) or is_copy != (name in (self._own or ())):
            return None
        if isinstance(ctx, ast.Store):
            self._shared.add(name)
        return ast.copy_location(ast.Name(name, ctx), table)


def _sets_attribute(func: ast.expr) -> bool:
    return source_of(func) == "setattr" or (isinstance(func, ast.Attribute) and func.attr == "__setattr__")


def _check_names(statements: Sequence[ast.stmt]) -> None:
    """Refuse a text that assigns variables whose names are not known."""
    values: dict[str, list[ast.expr]] = {}  # of the names that the text assigns
    for each in nodes_in(statements):
        if isinstance(each, ast.Assign):
            for target in each.targets:
                values.setdefault(source_of(target), []).append(each.value)
    tables = {*_TABLES, "sys.modules[__name__]"}
    tables |= {name for name, nodes in values.items() if any(source_of(node) in tables for node in nodes)}
    for each in nodes_in(statements):
        match each:
            case (
                ast.Subscript(value=owner, ctx=ast.Store() | ast.Del())
                | ast.Attribute(value=owner, ctx=ast.Store() | ast.Del())
            ):
                is_unknown = source_of(owner) in tables
            case ast.Call(func=ast.Attribute(value=owner, attr=method)) if changes(method):
                is_unknown = source_of(owner) in tables
            case ast.AugAssign(target=target):
                is_unknown = source_of(target) in tables
            case ast.Call(func=ast.Name(id="exec"), args=[text, *_]):
                # A file is taken to leave the script's own values as they are.
                is_unknown = not any(map(_reads_file, values.get(source_of(text), [text])))
            case _:
                continue
        if is_unknown:
            raise unreadable(each, "it may assign any variable. Write its assignments out")


def _reads_file(node: ast.expr) -> bool:
    functions = [call.func for call in calls_in([node])]
    return any(isinstance(each, ast.Attribute) and each.attr.startswith("read") for each in functions)
