"""The other spellings of an assignment, such as `setattr(args, "lr", 0.1)`, as plain assignments."""

import ast
from collections.abc import Sequence


def with_plain_assignments(statements: Sequence[ast.stmt]) -> list[ast.stmt]:
    """Replace `setattr(x, "a", 1)`, `vars(x)["a"]` and `x.__dict__.update(a=1)` by `x.a = 1` and `x.a`."""
    module = _Plain().visit(ast.Module([*statements], []))
    return module.body


class _Plain(ast.NodeTransformer):
    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        """Replace `vars(x)["a"]` by `x.a`, and `globals()["a"]` by `a`."""
        self.generic_visit(node)
        plain = _plain(node.value, node.slice, node.ctx)
        return node if plain is None else ast.copy_location(plain, node)

    def visit_Expr(self, node: ast.Expr) -> ast.stmt | list[ast.stmt]:
        """Replace a call that sets attributes by assignments."""
        self.generic_visit(node)
        pairs = _pairs(node.value)
        assigned = [ast.Assign([target], value) for target, value in pairs]
        return [ast.copy_location(each, node) for each in assigned] or node


def _pairs(call: ast.expr) -> list[tuple[ast.expr, ast.expr]]:
    """Return the targets and values of a call that sets attributes, or none if it is another call."""
    match call:
        case ast.Call(
            func=ast.Name(id="setattr") | ast.Attribute(attr="__setattr__"), args=[owner, key, value]
        ):
            table: ast.expr = ast.Attribute(owner, "__dict__", ast.Load())
            pairs = [(key, value)]
        case ast.Call(func=ast.Attribute(value=table, attr="update"), args=[], keywords=keywords):
            pairs = [(ast.Constant(each.arg), each.value) for each in keywords]
        case ast.Call(
            func=ast.Attribute(value=table, attr="update"), args=[ast.Dict(keys, values)], keywords=[]
        ):
            pairs = [(key or ast.Constant(None), value) for key, value in zip(keys, values, strict=True)]
        case _:
            return []
    found = [(_plain(table, key, ast.Store()), value) for key, value in pairs]
    targets = [(target, value) for target, value in found if target is not None]
    if isinstance(call, ast.Call) and not isinstance(call.func, ast.Attribute) and not targets:
        return [(ast.Subscript(table, key, ast.Store()), value) for key, value in pairs]
    return targets if len(targets) == len(found) else []


def _plain(table: ast.expr, key: ast.expr, ctx: ast.expr_context) -> ast.expr | None:
    """Return the attribute or name that stands for an item of `vars(x)` or `globals()`, if it is one."""
    if not isinstance(key, ast.Constant) or not isinstance(key.value, str):
        return None
    match table:
        case ast.Call(func=ast.Name(id="vars"), args=[owner]) | ast.Attribute(value=owner, attr="__dict__"):
            return ast.Attribute(owner, key.value, ctx)
        case ast.Call(func=ast.Name(id="globals")):
            return ast.Name(key.value, ctx)
    return None
