"""The hottest loop of a listing, and the kind of each of its lines."""

from __future__ import annotations

import pytest

import depthwise as dw
from depthwise.machine.target import host
from depthwise.tutorial.assembly import Instruction, annotated, counts, hottest, strip
from depthwise.tutorial.tiles import Tile

# A loop over rows; within it one over channels with a branch for the border, laid out as LLVM
# does: the block of the border behind the loop.
X86 = """
	.text
kernel:                                 # @kernel
	pushq	%rbx
.LBB0_1:                                # =>This Loop Header
	xorl	%eax, %eax
	.p2align	4
.LBB0_2:                                #   Parent Loop BB0_1 Depth=1
	vmovups	(%rdi,%rax,4), %ymm1
	testl	%ecx, %ecx
	je	.LBB0_5
.Ltmp3:
	vfmadd231ps	32(%rsi,%rax,4), %ymm1, %ymm0
	vmovups	%ymm3, -64(%rsp)                # 32-byte Spill
.LBB0_3:
	vfmadd231ps	-64(%rsp), %ymm1, %ymm0
	vmovaps	%ymm0, %ymm2
	vmovups	%ymm2, (%rdx,%rax,4)
	addq	$8, %rax
	cmpq	$64, %rax
	jne	.LBB0_2
	incq	%rbx
	cmpq	$14, %rbx
	jne	.LBB0_1
	popq	%rbx
	retq
.LBB0_5:
	vxorps	%xmm0, %xmm0, %xmm0
	jmp	.LBB0_3
"""

ARM = """
kernel:                                 // @kernel
	mov	x8, xzr
.LBB0_1:                                // =>This Inner Loop Header: Depth=1
	ldp	q0, q1, [x0, #32]
	ldr	q2, [x1, x8]
	fmla	v3.4s, v0.4s, v2.4s
	mov	v4.16b, v3.16b
	str	q4, [x2, x8]
	str	q1, [sp, #16]                   // 16-byte Folded Spill
	add	x8, x8, #16
	cmp	x8, #256
	b.ne	.LBB0_1
	ret
"""


def kinds(instructions):
    return [each.kind for each in instructions]


def test_the_innermost_loop_is_followed_along_the_way_that_loads_most():
    assert kinds(hottest(X86)) == [
        "load", "branch", "branch", "FMA", "spill", "FMA", "copy", "store", "address", "branch",
        "branch",
    ]  # fmt: skip


def test_vectors_are_counted_wherever_they_are_read():
    found = counts(hottest(X86))
    assert (found["vectors loaded"], found["vectors reloaded"]) == (2, 1)
    assert (found["vectors stored"], found["vectors spilled"]) == (1, 1)
    assert found["FMA"] == 2


def test_arm_is_read_too():
    inner = hottest(ARM)
    assert kinds(inner) == [
        "load", "load", "FMA", "copy", "store", "spill", "address", "branch", "branch"
    ]  # fmt: skip
    assert counts(inner)["vectors loaded"] == 3


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("vmovups (%rdi), %zmm0 {%k1} {z}", "load"),
        ("vmovups %zmm0, (%rdi) {%k1}", "store"),
        ("vbroadcastss (%rdi), %ymm0", "load"),
        ("mulps %xmm1, %xmm0", "arithmetic"),
        ("leaq (%rdi,%rsi), %rax", "address"),
        ("vmovups -32(%rsp), %ymm0", "reload"),
        ("vmaskmovps (%r14), %ymm1, %ymm13", "load"),
        ("vmaskmovps %ymm13, %ymm1, (%r9,%rbx)", "store"),
    ],
)
def test_kinds(line, kind):
    assert Instruction(*line.split(None, 1)).kind == kind


def test_a_listing_without_a_loop_is_refused():
    with pytest.raises(ValueError, match="has a loop"):
        hottest("kernel:\n\tretq\n")


@pytest.mark.parametrize("tiles", ["tw1 th1", "tw2 th1", "tw2 th2"])
def test_a_kernel_does_what_its_tile_says(tiles):
    lanes = host().lanes("float32")
    spec = dw.parse(f"depthwise c{50 * lanes} h12 w40 k3 p1 nhwc")
    kernel = dw.compile(spec, f"channels_last tc{lanes} {tiles}")
    tile = Tile(spec, kernel.plan, host())
    found = counts(hottest(kernel.show("asm")))
    turns, rest = divmod(found["vectors stored"], tile.accumulators)  # LLVM may unroll the loop
    assert turns >= 1
    assert rest == 0
    assert found["FMA"] + found["arithmetic"] >= turns * tile.fmas


def test_the_listing_and_its_picture_show_every_line():
    inner = hottest(X86)
    lines = annotated(inner).splitlines()
    assert len(lines) == len(inner)
    assert lines[3].endswith("# FMA + load")
    assert lines[5].endswith("# FMA + reload")
    drawing = strip(inner)
    assert "11 instructions" in drawing.text
    assert "2 FMA, 1 load, 1 store, 1 spill, 1 copy, 1 address, 4 branch" in drawing.text
