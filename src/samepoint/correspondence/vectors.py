"""LLVM vector operations for ``kernels``: what numba cannot be trusted to vectorise by itself.

Each is an intrinsic that a numba function calls like any other. They take C-contiguous arrays and flat offsets into
them, check no bounds and allocate nothing. Vectors have 16 lanes; LLVM splits them where the machine's are shorter.
"""

# mypy: disable-error-code="no-untyped-def, import-untyped"
from __future__ import annotations

import platform
from typing import Any

import llvmlite.binding
import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

LANES = 16

_HOST = llvmlite.binding.get_host_cpu_features()
# Told to compile for another processor (NUMBA_CPU_NAME and the like), numba may lack instructions that this one has.
_CONFIG: Any = numba.config
_NATIVE = _CONFIG.ENABLE_AVX and not (_CONFIG.CPU_NAME or _CONFIG.CPU_FEATURES or _CONFIG.DISABLE_JIT)
SUPPORTED = bool(_NATIVE and (_HOST.get("fma") or platform.machine().lower() in ("aarch64", "arm64")))
# LLVM gave the bf16 instructions their present signature in version 16.
HAS_BF16 = bool(SUPPORTED and _HOST.get("avx512bf16") and llvmlite.binding.llvm_version_info[0] >= 16)
# Sums held in registers: 32 registers of 16 floats with AVX-512, a quarter or less of that elsewhere.
MAX_BLOCK = 28 if _HOST.get("avx512f") else 6

_F32, _I16, _I32, _I64 = ir.FloatType(), ir.IntType(16), ir.IntType(32), ir.IntType(64)
_VEC = ir.VectorType(_F32, LANES)
_VEC_INT = ir.VectorType(_I32, LANES)
_VEC_BIT = ir.VectorType(ir.IntType(1), LANES)


class _BFloat(ir.types.Type):
    """LLVM's bfloat, which llvmlite does not name."""

    intrinsic_name = "bf16"

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


def _splat(builder: ir.IRBuilder, vector: ir.VectorType, scalar: ir.Value) -> ir.Value:
    undefined = ir.Constant(vector, ir.Undefined)
    single = builder.insert_element(undefined, scalar, ir.Constant(_I32, 0))
    return builder.shuffle_vector(single, undefined, ir.Constant(_VEC_INT, [0] * LANES))


def _vector_at(builder: ir.IRBuilder, pointer: ir.Value, offset: ir.Value, vector: ir.VectorType) -> ir.Value:
    return builder.bitcast(builder.gep(pointer, [offset]), vector.as_pointer())


def _declare(module: ir.Module, name: str, function: ir.FunctionType) -> ir.Function:
    return module.globals.get(name) or ir.Function(module, function, name=name)


def _data(context: Any, builder: ir.IRBuilder, array_type: Any, array: ir.Value, offset: ir.Value) -> ir.Value:
    """Pointer to element ``offset`` of a C-contiguous array."""
    proxy = cgutils.create_struct_proxy(array_type)(context, builder, array)
    return builder.gep(proxy.data, [offset])


def _score_function(module: ir.Module, bf16: bool) -> ir.Function:
    """``out[i, lane] = sum over c of queries[c, lane] * keys[c, i]`` for i < n: one loop for each even n."""
    name = "samepoint_scores_bf16" if bf16 else "samepoint_scores_f32"
    if name in module.globals:
        return module.globals[name]
    scalar, vector = (_I32, _VEC_INT) if bf16 else (_F32, _VEC)
    pairs = ir.VectorType(_BFloat(), 2 * LANES)
    signature = [scalar.as_pointer(), scalar.as_pointer(), _I64, _I64, _I64, _F32.as_pointer()]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), signature), name=name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    queries, keys, key_stride, channels, n, out = function.args
    if bf16:
        dot = _declare(module, "llvm.x86.avx512bf16.dpbf16ps.512", ir.FunctionType(_VEC, [_VEC, pairs, pairs]))
    else:
        dot = _declare(module, "llvm.fma.v16f32", ir.FunctionType(_VEC, [_VEC, _VEC, _VEC]))
    entry = function.append_basic_block("entry")
    none = function.append_basic_block("none")
    ir.IRBuilder(none).ret_void()
    switch = ir.IRBuilder(entry).switch(n, none)
    for size in range(2, MAX_BLOCK + 1, 2):
        loop, done = function.append_basic_block(f"loop{size}"), function.append_basic_block(f"done{size}")
        switch.add_case(ir.Constant(_I64, size), loop)
        builder = ir.IRBuilder(loop)
        c = builder.phi(_I64)
        c.add_incoming(ir.Constant(_I64, 0), entry)
        sums = [builder.phi(_VEC) for _ in range(size)]
        query_at = _vector_at(builder, queries, builder.mul(c, ir.Constant(_I64, LANES)), vector)
        query = builder.load(query_at, align=4)
        key_at = builder.gep(keys, [builder.mul(c, key_stride)])
        results = []
        for i, total in enumerate(sums):
            total.add_incoming(ir.Constant(_VEC, [0.0] * LANES), entry)
            key = _splat(builder, vector, builder.load(builder.gep(key_at, [ir.Constant(_I64, i)]), align=4))
            if bf16:
                operands = [total, builder.bitcast(query, pairs), builder.bitcast(key, pairs)]
            else:
                operands = [query, key, total]
            results.append(builder.call(dot, operands))
            total.add_incoming(results[-1], loop)
        following = builder.add(c, ir.Constant(_I64, 1))
        c.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, channels), loop, done)
        builder = ir.IRBuilder(done)
        for i, result in enumerate(results):
            builder.store(result, _vector_at(builder, out, ir.Constant(_I64, LANES * i), _VEC), align=4)
        builder.ret_void()
    return function


@intrinsic
def score_block(typingctx, queries, query_at, keys, key_at, key_stride, channels, n, out):
    signature = types.void(queries, types.intp, keys, types.intp, types.intp, types.intp, types.intp, out)

    def codegen(context, builder, signature, args):
        function = _score_function(builder.module, signature.args[0].dtype == types.uint32)
        query = _data(context, builder, signature.args[0], args[0], args[1])
        key = _data(context, builder, signature.args[2], args[2], args[3])
        target = _data(context, builder, signature.args[7], args[7], ir.Constant(_I64, 0))
        builder.call(function, [query, key, args[4], args[5], args[6], target])
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def exceeding(typingctx, scores, i, best, last):
    """Bits of the lanes where row i of ``scores`` is above the 16 values at flat offset ``last`` of ``best``."""
    signature = types.int64(scores, types.intp, best, types.intp)

    def codegen(context, builder, signature, args):
        row = _data(context, builder, signature.args[0], args[0], builder.mul(args[1], ir.Constant(_I64, LANES)))
        worst = _data(context, builder, signature.args[2], args[2], args[3])
        score = builder.load(builder.bitcast(row, _VEC.as_pointer()), align=4)
        bar = builder.load(builder.bitcast(worst, _VEC.as_pointer()), align=4)
        bits = builder.bitcast(builder.fcmp_ordered(">", score, bar), _I16)
        return builder.zext(bits, _I64)

    return signature, codegen


def _insert_function(module: ir.Module) -> ir.Function:
    """Insert one score a lane into k sorted rows of 16 scores, and its index into k rows of indices."""
    name = "samepoint_insert"
    if name in module.globals:
        return module.globals[name]
    signature = [_F32.as_pointer(), _I64, _F32.as_pointer(), _I32.as_pointer(), _I64, _I64]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), signature), name=name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    scores, bits, best, best_index, k, index = function.args
    entry, loop, done = (function.append_basic_block(name) for name in ("entry", "loop", "done"))
    builder = ir.IRBuilder(entry)
    lanes = builder.bitcast(builder.trunc(bits, _I16), _VEC_BIT)
    score = builder.load(builder.bitcast(scores, _VEC.as_pointer()), align=4)
    nothing = ir.Constant(_VEC, [float("-inf")] * LANES)
    first = builder.select(lanes, score, nothing)
    first_index = _splat(builder, _VEC_INT, builder.trunc(index, _I32))
    builder.branch(loop)
    builder = ir.IRBuilder(loop)
    j, carried, carried_index = builder.phi(_I64), builder.phi(_VEC), builder.phi(_VEC_INT)
    offset = builder.mul(j, ir.Constant(_I64, LANES))
    at, index_at = _vector_at(builder, best, offset, _VEC), _vector_at(builder, best_index, offset, _VEC_INT)
    held, held_index = builder.load(at, align=4), builder.load(index_at, align=4)
    above = builder.fcmp_ordered(">", carried, held)
    builder.store(builder.select(above, carried, held), at, align=4)
    builder.store(builder.select(above, carried_index, held_index), index_at, align=4)
    following = builder.add(j, ir.Constant(_I64, 1))
    for phi, start, again in (
        (j, ir.Constant(_I64, 0), following),
        (carried, first, builder.select(above, held, carried)),
        (carried_index, first_index, builder.select(above, held_index, carried_index)),
    ):
        phi.add_incoming(start, entry)
        phi.add_incoming(again, loop)
    builder.cbranch(builder.icmp_signed("<", following, k), loop, done)
    ir.IRBuilder(done).ret_void()
    return function


@intrinsic
def insert(typingctx, scores, i, bits, best, best_index, at, k, index):
    signature = types.void(scores, types.intp, types.int64, best, best_index, types.intp, types.intp, types.int64)

    def codegen(context, builder, signature, args):
        row = _data(context, builder, signature.args[0], args[0], builder.mul(args[1], ir.Constant(_I64, LANES)))
        kept = _data(context, builder, signature.args[3], args[3], args[5])
        kept_index = _data(context, builder, signature.args[4], args[4], args[5])
        builder.call(_insert_function(builder.module), [row, args[2], kept, kept_index, args[6], args[7]])
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def float_at(typingctx, address):
    """The float32 at a memory address: lets one compiled loop read any number of tensors without copying them."""

    def codegen(context, builder, signature, args):
        return builder.load(builder.inttoptr(args[0], _F32.as_pointer()), align=4)

    return types.float32(types.int64), codegen
