"""Every number of a certificate, a second way: from the artifact's own codes and scales, in float64, with nothing of quantd but its tokenizer.

A run's folder, the source model and the calibration text are read; the calibration windows, both activation streams, H, the order, the factor,
energies, bounds and perplexities are computed by numpy and compared with what certificate.json and the result say. Scales and zeros are made
again from the weights and compared bit for bit; every code is the nearest one to what the feedback rule presents (OPTQ) or to the weight (RTN).

quantd's streams are float32: fields that depend on the data agree to about 1e-6, the others to float64. Without numpy: skipped.
"""
import functools
import itertools
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "http"))
from harness import *  # noqa: E402,F403

try:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import numpy as np
except ImportError:
    np = None
    system = "/usr/bin/python3"  # the distribution's own, which its numpy package serves, behind another one in PATH
    if os.access(system, os.X_OK) and "QUANTD_TEST_SYSTEM_PYTHON" not in os.environ:
        os.environ["QUANTD_TEST_SYSTEM_PYTHON"] = "1"
        os.execv(system, [system] + sys.argv)

if np is not None:
    from blocks import Blocks
    from decoder import Decoder, array, bf16_bits_to_float32, tensors_of

DATA = 1e-6     # relative, of what depends on activations: float32 streams and products
SUMS = 4e-6     # of sums of pivots and errors: they feel H through its small eigenvalues
PIVOT = 5e-5    # of one pivot
APART = 2e-4    # of differences between two float32 streams, which are small beside the streams
HALF_STEP = 0.5 + 2.0 ** -21  # steps: arguments are rounded to multiples of 2^-20 before they are rounded to codes
EXACT = 1e-9    # of what depends on weights only
NEAR_TIE = 2e-6  # relative difference of two diagonal entries that float32 may order otherwise


# ---- numbers ----

def round_bf16(x):
    bits = np.atleast_1d(np.asarray(x, np.float32)).view(np.uint32)
    kept = (bits + np.uint32(0x7fff) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return bf16_bits_to_float32(kept.astype(np.uint16))


ROUND = {} if np is None else {"f32": np.float32, "bf16": round_bf16, "f16": lambda x: np.float32(np.float16(np.float32(x)))}
SMALLEST = {"f32": 2.0 ** -126, "bf16": 2.0 ** -126, "f16": 2.0 ** -24, "e8m0": 2.0 ** -127}


def unpack(words, count, bits):
    """Codes along the last axis; element i lies in bits [i * bits, (i + 1) * bits) of the row (bits divides 32)."""
    each = 32 // bits
    parts = [(words >> np.uint32(bits * k)) & np.uint32(2 ** bits - 1) for k in range(each)]
    return np.stack(parts, axis=-1).reshape(words.shape[:-1] + (-1,))[..., :count].astype(np.int64)


# ---- the grid, from the weights: algorithms.md 2.2, 2.3 ----

def to_code(argument):
    """A tie within 2^-21 of a step is a tie, and goes to the even code."""
    return np.rint(np.rint(argument * 2.0 ** 20) / 2.0 ** 20)


class Grid:
    def __init__(self, record):
        g = record["grid"]
        self.low, self.high, self.zero_kind = g["low"], g["high"], g["zero"]
        self.size, self.count = g["group_size"], g["groups"]
        self.rule, self.type, self.shrink = g["scale_rule"], g["scale_type"], g["shrink"]
        self.levels = np.array(g["levels"], float) if "levels" in g else np.arange(self.low, self.high + 1.0)
        self.lowest, self.highest, self.gaps = self.levels[0], self.levels[-1], np.diff(self.levels)
        self.integers, self.widest = "levels" not in g, self.gaps.max()

    def place(self, at):
        """Where the pair of levels around a value begins."""
        return np.clip(np.searchsorted(self.levels, at, side="right") - 1, 0, len(self.gaps) - 1)

    def nearest(self, at):
        """Levels nearest to arguments; a tie, as far as 2^-21 of the distance, goes to every second level counted from 0 or the first."""
        if self.integers:
            return np.clip(to_code(at), self.low, self.high)
        k = self.place(at)
        zero = np.flatnonzero(self.levels == 0)
        even = (k - (zero[0] if len(zero) else 0)) % 2 == 0
        way = (at - self.levels[k]) / self.gaps[k]
        return self.levels[k + (way > np.where(even, 0.5 + 2.0 ** -21, 0.5 - 2.0 ** -21))]

    def gap_at(self, at):
        return self.gaps[self.place(at)]

    def scale(self, reach, fraction):
        top = -self.low if self.zero_kind == "none" else self.high
        top = top if self.integers else np.abs(self.levels).max()
        if self.type == "e8m0":
            exponent = np.floor(np.log2(self.shrink * reach * fraction)) - np.ceil(np.log2(top)) + 1
            return np.float32(2.0 ** np.clip(exponent, -127, 127))
        s = ROUND[self.type](np.float32(self.shrink * reach * fraction / top))
        return np.maximum(s, np.float32(SMALLEST[self.type]))

    def zero(self, lowest, scale, fraction):
        if self.zero_kind == "none":
            return np.zeros(len(scale), np.float32)
        z = self.shrink * lowest * fraction / scale.astype(float)
        return np.float32(np.clip(np.rint(z), self.low, self.high) if self.zero_kind == "integer" else z)

    def loss(self, w, s, z):
        s, z = s.astype(float)[:, None], z.astype(float)[:, None]
        code = np.clip(np.rint(w / s + z), self.low, self.high) if self.integers else self.nearest(w / s)
        return ((w - (code - z) * s) ** 2).sum(1)

    def best(self, w, make, wider=False):
        """The first strictly smaller loss of 19 candidates (scale, zero), a row; powers of two have one more, above the range."""
        for i in range(2, 22 if wider else 21):
            s, z = make(i / 20 if i <= 20 else 2)
            loss = self.loss(w, s, z)
            if i == 2:
                best, scale, zero = loss, s.copy(), z.copy()
            better = loss < best
            best, scale, zero = np.where(better, loss, best), np.where(better, s, scale), np.where(better, z, zero)
        return scale, zero

    def of_group(self, w):
        low, high = w.min(1), w.max(1)
        if self.zero_kind == "none":
            lowest, reach = np.zeros(len(w)), np.maximum(-low, high)
        else:
            lowest = np.maximum(-low, 0)
            reach = lowest + (np.maximum(high, 0) if self.zero_kind == "integer" else high)
            reach = np.maximum(reach, lowest * self.high / 65536)
        reach = np.maximum(reach, 1e-4)
        if self.rule == "minmax":
            s = self.scale(reach, 1)
            return s, self.zero(lowest, s, 1)

        def by_scale(fraction):
            s = self.scale(reach, fraction)
            return s, self.zero(lowest, s, 1)
        s, z = self.best(w, by_scale, wider=self.type == "e8m0")
        if self.zero_kind != "none":
            s, z = self.best(w, lambda fraction: (s, self.zero(lowest, s, fraction)))
        return s, z

    def build(self, w):
        parts = [self.of_group(w[:, g * self.size:(g + 1) * self.size].astype(float)) for g in range(self.count)]
        return np.stack([p[0] for p in parts], 1), np.stack([p[1] for p in parts], 1)

    def wide(self, per_group, columns):
        return np.repeat(per_group, self.size, axis=1)[:, :columns]


# ---- the basis of an input: algorithms.md 8.1, dense ----

MASK = 2 ** 64 - 1


def mix(x):
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9 & MASK
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb & MASK
    return x ^ (x >> 31)


def signs_of(seed, first, count):
    """rng.h: the top bit of the key's numbers; the key is of seed, first layer with the input, and the word SIGNS."""
    key = mix(seed + 0x9e3779b97f4a7c15 & MASK)
    key = mix(key ^ (first + 0x9e3779b97f4a7c15 & MASK))
    key = mix(key ^ (int.from_bytes(b"SIGNS", "big") + 0x6a09e667f3bcc909 & MASK))
    return np.array([-1.0 if mix(key + (j + 1) * 0x9e3779b97f4a7c15 & MASK) >> 63 else 1.0 for j in range(count)])


def hadamard(n):
    """Sylvester, or Paley of order 12 times that."""
    h = np.ones((1, 1))
    if n % 3 == 0:
        squares = {i * i % 11 for i in range(1, 11)}
        chi = np.array([[0 if i == j else 1 if (i - j) % 11 in squares else -1 for j in range(11)] for i in range(11)])
        h = np.eye(12) + np.block([[np.zeros((1, 1)), np.ones((1, 11))], [-np.ones((11, 1)), chi]])
    while len(h) < n:
        h = np.kron(h, [[1, 1], [1, -1]])
    assert h.shape == (n, n)
    return h / np.sqrt(n)


def basis_of(job, record):
    """M, or None: transforms as check_run knows them, one "hadamard" at most."""
    if not job.get("transforms"):
        return None
    m = hadamard(record["shape"][1])
    if job["transforms"] == ["hadamard"]:
        place = record["index"] % 7  # q, k, v, o, gate, up, down
        first = record["index"] - place + (0, 0, 0, 3, 4, 4, 6)[place]
        m = m * signs_of(job.get("seed", 0), first, len(m))
    return m


class Layer:
    """What the artifact holds of one linear layer: codes, scale, zero, and the float32 weights its readers see."""

    def __init__(self, record, source, packed, basis=None):
        name = record["name"]
        self.record, self.grid, self.w, self.basis = record, Grid(record), array(source[name + ".weight"]), basis
        if basis is not None:
            self.w = np.float32(self.w.astype(float) @ basis.T)
        out, width = self.w.shape
        if not isinstance(packed, dict):
            self.take_blocks(*packed.layer(name))
            return
        scale, zero = self.grid.build(self.w)
        self.swept = [self.grid.wide(x, width).astype(float) for x in (scale, zero)]  # before anything was fitted
        if name + ".weight_packed" in packed:
            bits = -int(-record["bits"] // 1)  # three levels are codes of 2 bits
            codes = unpack(array(packed[name + ".weight_packed"]), width, bits)
            self.codes = codes - (2 ** (bits - 1) if self.grid.zero_kind == "none" else 0)
            stored = array(packed[name + ".weight_scale"])
            stored_zero = np.zeros(stored.shape, np.float32)
            if self.grid.zero_kind == "integer":
                stored_zero = unpack(array(packed[name + ".weight_zero_point"]).T, out, bits).T.astype(np.float32)
            fitted = record["certificate"].get("scales_fitted", 0)
            if fitted:
                equal(int(((stored != scale) | (stored_zero != zero)).sum()), fitted, name + ": groups that were fitted")
                scale, zero = stored, stored_zero
            bit_equal(stored, scale, name + ": weight_scale")
            bit_equal(stored_zero, zero, name + ": weight_zero_point")
        else:
            value = array(packed[name + ".weight"]).astype(float)
            value = value if basis is None else value @ basis.T
            at = value / self.grid.wide(scale, width) + self.grid.wide(zero, width)
            self.codes = np.rint(at).astype(np.int64) if self.grid.integers else self.grid.nearest(at)
        self.scale, self.zero = (self.grid.wide(x, width).astype(float) for x in (scale, zero))
        assert self.codes.min() >= self.grid.lowest and self.codes.max() <= self.grid.highest, name + ": a code beyond the grid"
        self.q = (self.codes - self.zero) * self.scale
        self.read = (np.float32(self.codes) - np.float32(self.zero)) * np.float32(self.scale)
        if basis is not None:
            wrong = np.abs(array(packed[name + ".weight"]) - self.back(self.read)).max() / np.abs(self.read).max()
            assert wrong < 1e-6, "%s: weights stored are %.1e off those turned back" % (name, wrong)
        elif name + ".weight" in packed:
            bit_equal(array(packed[name + ".weight"]), self.read, name + ": weights stored")

    def take_blocks(self, codes, scale, zero, offset):
        """A container's own grid, whose search is not made again: it is read, and what was certified must be on it."""
        width = self.w.shape[1]
        self.codes = codes
        self.scale, self.zero = (self.grid.wide(x, width).astype(float) for x in (scale, zero))
        self.swept = [self.scale, self.zero]
        self.q = (codes - self.zero) * self.scale
        levels, steps = np.float32(codes), np.float32(self.scale)
        self.read = (levels - np.float32(self.zero)) * steps if offset is None else levels * steps - self.grid.wide(offset, width)
        equal(self.record["grid"]["groups"], scale.shape[1], self.record["name"] + ": groups")
        negative = int((zero != (self.grid.high + 1) // 2).sum()) if offset is None else None
        equal(self.record["grid"].get("negative_scales"), negative, self.record["name"] + ": negative scales")
        self.check_choice(offset is not None)

    def check_choice(self, has_offset):
        """The search errs less, over the layer, than the whole range of every group does: from the lowest weight, or as far on either side."""
        w, middle = self.w.astype(float), (self.grid.high + 1) // 2
        groups = w.reshape(len(w), -1, self.grid.size)
        low = np.minimum(groups.min(2, keepdims=True), 0) if has_offset else -np.abs(groups).max(2, keepdims=True)
        high = groups.max(2, keepdims=True) if has_offset else -low
        s = np.maximum(high - low, 1e-4) / (self.grid.high if has_offset else 2 * middle)
        code = np.clip(np.rint((groups - low) / s), 0, self.grid.high)
        plain = ((groups - low - code * s) ** 2).sum()
        ours = ((w - (self.nearest(w) - self.zero) * self.scale) ** 2).sum()
        assert ours < plain, "%s: the grid errs %.3g, minmax would %.3g" % (self.record["name"], ours, plain)

    def back(self, x):
        """Weights in the basis of the codes as the model computes with them."""
        return x if self.basis is None else np.float32(x.astype(float) @ self.basis)

    def nearest(self, x):
        return self.grid.nearest(x / self.scale + self.zero)


def bit_equal(got, want, what):
    got, want = np.asarray(got, np.float32), np.asarray(want, np.float32)
    wrong = np.argwhere(got != want)
    assert got.shape == want.shape and not len(wrong), "%s: %d of %d differ, first at %s: %r, want %r" % (
        what, len(wrong), got.size, wrong[0], got[tuple(wrong[0])], want[tuple(wrong[0])])


# ---- tokens ----

@functools.lru_cache(maxsize=None)
def token_ids(model, text):
    """Line by line, each with its newline."""
    lines = open(text, encoding="utf-8", newline="").read().split("\n")
    lines = [line + "\n" for line in (lines[:-1] if lines[-1] == "" else lines)]
    request = "".join(json.dumps({"text": line}) + "\n" for line in lines)
    done = subprocess.run([QUANTD, "tokenize", model], input=request.encode(), stdout=subprocess.PIPE, check=True)
    return np.array([i for line in done.stdout.splitlines() for i in json.loads(line)["ids"]])


def calibration_windows(ids, bos, samples, length, phase):
    starts = [int((i + phase) * (len(ids) - length) // samples) for i in range(samples)]
    return np.array([np.concatenate([[bos], ids[s:s + length - 1]]) for s in starts])


def evaluation_windows(ids, bos, count, length):
    row = np.concatenate([[bos], ids])
    windows = row[:len(row) // length * length].reshape(-1, length)[:count].copy()
    windows[:, 0] = bos
    return windows


# ---- the certificate ----

class Judge:
    """Collects differences; the worst relative one of every field is shown."""

    def __init__(self):
        self.wrong, self.worst = [], {}

    def near(self, layer, field, got, want, tolerance, size=0.0):
        difference = abs(got - want) / max(abs(want), size, 1e-300) if got != want else 0.0
        self.worst[field] = max(self.worst.get(field, 0.0), difference)
        if not difference <= tolerance:
            self.wrong.append("%s: %s is %.17g, here %.17g (%.1e)" % (layer, field, got, want, difference))

    def same(self, layer, field, got, want):
        if got != want:
            self.wrong.append("%s: %s is %r, here %r" % (layer, field, got, want))

    def finish(self):
        for field, difference in sorted(self.worst.items()):
            print("# %-18s differs by at most %.1e" % (field, difference))
        assert not self.wrong, "%d differences, the first:\n" % len(self.wrong) + "\n".join(self.wrong[:12])


def hash_of(permutation):
    return hashlib.sha256(np.asarray(permutation, "<u4").tobytes()).hexdigest()[:16]


def permutation_of(order, diagonal, wanted):
    """The order by `diagonal`; where float32 may have seen neighbours the other way round, the way that has the wanted hash."""
    if order == "natural":
        return np.arange(len(diagonal))
    base = np.argsort(-diagonal, kind="stable")
    d = diagonal[base]
    close = [t for t in range(len(d) - 1) if 0 < d[t] - d[t + 1] <= NEAR_TIE * d[t]][:12]
    for chosen in itertools.chain.from_iterable(itertools.combinations(close, k) for k in range(len(close) + 1)):
        p = base.copy()
        for t in chosen:
            p[[t, t + 1]] = p[[t + 1, t]]
        if hash_of(p) == wanted:
            return p
    return base


def gap_db(n, am_gm):
    from math import lgamma, log, log10, pi
    log_g = 2 / n * lgamma(n / 2 + 1) - log((n + 2) * pi)
    return 10 * (log10(am_gm) - log10(12) - log_g / log(10))


class Measured:
    """Everything certificate.json says of a layer, from H (None: the identity) and what the artifact holds."""

    def __init__(self, layer, h, lambda_rel, pair=None):
        c = layer.record["certificate"]
        n, data = layer.w.shape[1], h is not None
        h = np.eye(n) if h is None else h
        diagonal = np.diag(h)
        live = diagonal > 0
        self.permutation = p = permutation_of(c["order"], diagonal, c["perm_hash"])
        self.lambda_ = lambda_rel * (diagonal[live].mean() if live.any() else 1) if data else 0.0
        self.h = h[np.ix_(p, p)]
        damped = self.h + self.lambda_ * np.eye(n)
        self.c = np.linalg.cholesky(damped[::-1, ::-1])[::-1, ::-1]
        self.r2, self.trace, self.dead = np.diag(self.c) ** 2, np.trace(damped), int((~live).sum())
        optq = c["method"] != "rtn"
        w = layer.w.astype(float)[:, p] * (live[p] if optq else 1)
        self.scale, self.zero = layer.scale[:, p], layer.zero[:, p]
        q, codes = layer.q[:, p], layer.codes[:, p]
        self.target, (self.swept_scale, self.swept_zero) = w, (x[:, p] for x in layer.swept)
        self.low, self.high = layer.grid.low, layer.grid.high
        error = w - q
        self.weight_error = (error ** 2).sum()
        if pair is not None:
            pair.take(self, w, q, c["shrink"])
            error = pair.target - q
        self.energy = ((error @ self.c) ** 2).sum()
        self.error = np.einsum("ij,jk,ik->", error, self.h, error, optimize=True)
        self.output = np.einsum("ij,jk,ik->", w, self.h, w, optimize=True)
        if pair is not None:
            self.error, self.output = pair.error, pair.output
        self.damped_output = np.einsum("ij,jk,ik->", w, damped, w, optimize=True)
        eps = error @ self.c / np.diag(self.c)
        z = q + eps if optq else w
        at = z / self.scale + self.zero
        grid = layer.grid
        self.excess = np.maximum(at - grid.highest, grid.lowest - at) / grid.widest
        step = self.scale * grid.widest
        reach = step * np.maximum(HALF_STEP, self.excess)
        wanted = grid.nearest(at)
        place = grid.place(at)
        tie = np.abs((at - grid.levels[place]) / grid.gaps[place] - 0.5) < 1e-3
        likely = self.scale * grid.gap_at(w / self.scale + self.zero)
        self.misrounded = int(((codes != wanted) & ~tie).sum())
        if optq:
            self.bound = ((self.swept_scale * grid.widest * HALF_STEP) ** 2 * self.r2).sum()
            self.overload, self.expected = (reach ** 2 * self.r2).sum(), ((self.swept_scale * grid.gap_at(w / self.swept_scale + self.swept_zero) * HALF_STEP) ** 2 * self.r2).sum() / 3
        else:
            size = np.abs(damped)
            forms = np.einsum("ij,jk,ik->i", step * HALF_STEP, size, step * HALF_STEP, optimize=True)
            clipped = (self.excess > 0.5).any(1)
            self.bound = forms.sum()
            self.overload = np.where(clipped, np.einsum("ij,jk,ik->i", reach, size, reach, optimize=True), forms).sum()
            self.expected = (likely ** 2 / 12 * np.diag(damped)).sum()

    def swept_again(self):
        """Energy of OPTQ by its definition, on the grid that the rule chose."""
        error = np.zeros_like(self.target)
        for t in range(error.shape[1]):
            v = self.target[:, t] + error[:, :t] @ self.c[:t, t] / self.c[t, t]
            scale, zero = self.swept_scale[:, t], self.swept_zero[:, t]
            error[:, t] = self.target[:, t] - (np.clip(to_code(v / scale + zero), self.low, self.high) - zero) * scale
        return ((error @ self.c) ** 2).sum()


class Pair:
    """A group's input in both streams, and for one layer what Qronos makes of it: targets from the moments, errors from the tokens."""

    def __init__(self, x, float_x, residual, parts):
        self.x, self.d, self.e, self.judge = x, float_x - x, residual, parts
        self.float_x = float_x

    def moments(self, tokens, p):
        """H, K and A of some tokens."""
        x, d, m = self.x[tokens][:, p], self.d[tokens][:, p], tokens.sum()
        return x.T @ x / m, d.T @ x / m, 0.0 if self.e is None else self.e[tokens].T @ x / m

    def share(self, w, p, lambda_rel):
        """algorithms.md §13.2."""
        h, k, a = self.moments(~self.judge, p)
        shift = np.linalg.solve(h + lambda_rel * np.diag(h).mean() * np.eye(len(h)), (w @ k + a).T).T
        h, k, a = self.moments(self.judge, p)
        size = (shift @ h * shift).sum()
        return min(1.0, max(0.0, (shift * (w @ k + a)).sum() / size)) if size > 0 else 1.0

    def take(self, measured, w, q, share):
        """In processing order."""
        p, m = measured.permutation, len(self.x)
        _, k, a = self.moments(np.ones(m, bool), p)
        damped = measured.h + measured.lambda_ * np.eye(len(p))
        self.target = w + share * np.linalg.solve(damped, (w @ k + a).T).T
        self.wanted_share = self.share(w, p, measured.lambda_ / np.diag(measured.h).mean())
        e = 0.0 if self.e is None else self.e
        output, d, own = self.float_x[:, p] @ w.T, e + self.d[:, p] @ w.T, self.float_x[:, p] @ w.T - self.x[:, p] @ q.T

        def total(v):
            return ((share * d + self.x[:, p] @ (w - v).T) ** 2).sum() / m + measured.lambda_ * ((w - v) ** 2).sum()
        self.error, self.output, self.mismatch = (own ** 2).sum() / m, (output ** 2).sum() / m, (d ** 2).sum() / m
        self.cross = (d * (self.x[:, p] @ (w - q).T)).sum() / m
        self.base, self.total = total(self.target), total(q)
        self.residual, self.both = (np.square(e).sum() / m, (e * own).sum() / m) if self.e is not None else (None, None)
        self.shift = (np.abs(self.target - w) / measured.scale).max()


def check_pair(judge, name, c, pair, m, automatic):
    if automatic:
        judge.near(name, "shrink", c["shrink"], pair.wanted_share, APART)
    size = pair.mismatch + pair.error
    for field, want in [("mismatch_sq", pair.mismatch), ("mismatch_cross", pair.cross), ("base_sq", pair.base), ("total_sq", pair.total)]:
        judge.near(name, field, c[field], want, APART, size=size)
    judge.near(name, "shift_max", c["shift_max"], pair.shift, APART, size=1.0)
    judge.near(name, "total against its parts", pair.total, pair.base + m.energy, 1e-9)
    judge.same(name, "residual_sq is there", "residual_sq" in c, pair.e is not None)
    if pair.e is not None:
        judge.near(name, "residual_sq", c["residual_sq"], pair.residual, APART)
        judge.near(name, "residual_cross", c["residual_cross"], pair.both, APART, size=pair.residual + pair.error)


def optq_in_float32(certificate):
    return certificate["method"] == "optq" and certificate["N"] >= 2048


def check_refined(judge, name, c, m):
    """What the sweep saw is gone with its codes, but it can be made again; ties may fall otherwise, so only nearly."""
    chain = [c["energy_sq"], c["searched_sq"], c["swept_sq"], c["overload_bound_sq"] * (1 + 1e-9)]
    judge.same(name, "energies that rise from the sweep on", chain, sorted(chain))
    judge.near(name, "swept_sq", c["swept_sq"], m.swept_again(), 0.05 if "base_sq" in c else 0.01)  # targets are data too


def check_clips(judge, name, c, m, h):
    judge.near(name, "max_excess", c["max_excess"], max(0, m.excess.max()), 1e-3, size=1)
    blur = 1e-4 if h is not None else 1e-9
    least, most = [(m.excess > 0.5 + b).any(1).sum() for b in (blur, -blur)], [(m.excess > 0.5 + b).sum() for b in (blur, -blur)]
    if not least[0] <= c["clip_neurons"] <= least[1]:
        judge.same(name, "clip_neurons", c["clip_neurons"], int(least[0]))
    if not most[0] <= c["clip_count"] <= most[1]:
        judge.same(name, "clip_count", c["clip_count"], int(most[0]))


def check_layer(judge, layer, h, lambda_rel, tokens, pair=None, automatic=False):
    record, c = layer.record, layer.record["certificate"]
    name, m = record["name"], Measured(layer, h, lambda_rel, pair)
    if pair is not None:
        check_pair(judge, name, c, pair, m, automatic)
    apart = DATA if pair is None else APART
    data = DATA if h is not None else EXACT
    out, n = layer.w.shape
    for field, want in [("perm_hash", hash_of(m.permutation)), ("m", tokens if h is not None else 0), ("N", n), ("d", out),
                        ("dead_columns", m.dead), ("rounding", "nearest"), ("escalations", 0),
                        ("precision", "float32" if optq_in_float32(c) else "float64")]:
        judge.same(name, field, c[field], want)
    judge.same(name, "shape", record["shape"], [out, n])
    refined = "swept_sq" in c
    if not refined:
        judge.same(name, "codes that are not nearest", m.misrounded, 0)
    judge.near(name, "gram_scale", c["gram_scale"], 1 / tokens if h is not None else 1, 1e-15)
    judge.near(name, "lambda", c["lambda"], m.lambda_, data)
    judge.near(name, "lambda_rel", c["lambda_rel"], lambda_rel if h is not None else 0, 1e-12)
    pivots, one = (SUMS, PIVOT) if h is not None else (EXACT, EXACT)
    am_gm = m.r2.mean() / np.exp(np.log(m.r2).mean())
    for field, want, tolerance in [
            ("S", m.r2.sum(), pivots), ("r2_max", m.r2.max(), one), ("r2_min", m.r2.min(), one), ("am_gm", am_gm, pivots),
            ("gap_db", gap_db(n, am_gm), pivots), ("trace_ratio", m.r2.sum() / m.trace, pivots), ("bound_sq", m.bound, pivots),
            ("expected_sq", m.expected, pivots), ("energy_sq", m.energy, max(pivots, apart) if pair else pivots), ("output_sq", m.output, data),
            ("weight_error_sq", m.weight_error, EXACT), ("ratio", np.sqrt(m.energy / m.bound), max(pivots, apart) if pair else pivots)]:
        judge.near(name, field, c[field], want, tolerance)
    pivots = max(pivots, apart) if pair else pivots
    if refined:
        check_refined(judge, name, c, m)
    else:
        judge.near(name, "overload_bound_sq", c["overload_bound_sq"], m.overload, pivots)
    judge.near(name, "error_sq", c["error_sq"], m.error, pivots, size=1e-6 * m.energy)
    relative = np.sqrt(m.error / m.output) if m.output > 0 else 0.0
    judge.near(name, "rel_error", c["rel_error"], relative, pivots)
    judge.near(name, "error.calibration", record["error"]["calibration"], relative, pivots)
    judge.near(name, "sqnr_db", c["sqnr_db"], min(300, -20 * np.log10(relative)) if relative > 0 else 300 * (m.output > 0), pivots)
    if not refined:
        check_clips(judge, name, c, m, h)
    if not c["identity_resid"] <= (1e-4 if optq_in_float32(c) else 1e-9):
        judge.same(name, "identity_resid", c["identity_resid"], 0)
    status = "UNCERTIFIED" if h is None else "CERTIFIED_OVERLOAD" if c["clip_count"] else "CERTIFIED"
    judge.same(name, "status", c["status"], status)
    return m


def check_run(model, out, job, calibration, evaluation, result):
    recipe = job["calibration"]
    decoder, packed = Decoder(model), Blocks(out) if "gguf" in job.get("format", "") else tensors_of(out)
    bos = decoder.config["bos_token_id"]
    document = json.load(open(os.path.join(out, "certificate.json")))
    layers = {r["name"]: Layer(r, decoder.tensors, packed, basis_of(job, r)) for r in document["layers"]}
    windows = calibration_windows(token_ids(model, calibration), bos, recipe["samples"], recipe["length"], recipe["phase"])
    equal(result["calibration"]["tokens_sha256"], hashlib.sha256(windows.astype("<u4").tobytes()).hexdigest(), "calibration ids")
    judge, sums = Judge(), np.zeros(2)
    seen, float_seen = [], {}
    mismatch, first = job.get("mismatch"), int(recipe.get("first_position") == "left-out")
    judging = np.repeat(np.arange(recipe["samples"]) % 5 == 4, recipe["length"] - first)

    def counted(a):
        return a[:, first:].reshape(-1, a.shape[-1])

    def see_float(names, a):
        float_seen[names[0]] = counted(a), counted(decoder.residual)

    def pair_of(names, a, basis):
        float_x, float_r = float_seen[names[0]]
        if basis is not None:
            a, float_x = a @ basis.T, float_x @ basis.T
        writes = mismatch.get("residual") and names[0].endswith(("o_proj", "down_proj"))
        return Pair(a, float_x, float_r - counted(decoder.residual) if writes else None, judging)

    def see(names, a):
        a = counted(a)
        h = a.T @ a / len(a)
        for name in names:
            basis = layers[name].basis
            turned = h if basis is None else basis @ h @ basis.T
            m = check_layer(judge, layers[name], turned, job["regularization"]["mean_diagonal"], len(a), mismatch and pair_of(names, a, basis),
                            mismatch and mismatch.get("shrink") == "auto")
            seen.append(name)
            sums[:] += m.error, m.output

    def read(name):
        return layers[name].back(layers[name].read).astype(float)
    if mismatch:
        decoder.walk(windows, lambda name: decoder.get(name + ".weight"), see_float)
    decoder.walk(windows, read, see)
    equal(seen, [r["name"] for r in document["layers"]], "layers, in order")
    judge.near("summary", "relative_error", document["summary"]["relative_error"], np.sqrt(sums[0] / sums[1]), DATA)
    judge.same("summary", "certified_layers", document["summary"]["certified_layers"], len(seen))
    ids = evaluation_windows(token_ids(model, evaluation), bos, job["evaluation"]["windows"], job["evaluation"]["length"])

    def nearest(name):
        """The baseline: on the grid that the rule chooses from the weights, whatever was fitted to the codes."""
        layer = layers[name]
        scale, zero = layer.swept
        codes = np.float32(layer.grid.nearest(layer.w.astype(float) / scale + zero))
        return layer.back((codes - np.float32(zero)) * np.float32(scale)).astype(float)
    for who, weight in [("source", lambda name: decoder.get(name + ".weight")), ("quantized", read), ("rtn", nearest)]:
        judge.near("perplexity", "perplexity", result["perplexity"][who], decoder.perplexity(ids, weight), DATA)
    judge.finish()


def run_job(fields, model):
    job = dict({"model": "file:///unused", "algorithm": "optq", "effort": "reference", "arithmetic": "float32",
                "regularization": {"mean_diagonal": 0.01}}, **fields)
    job["calibration"] = dict({"samples": 6, "length": 128, "phase": 0.4, "split": "lines"}, **fields.get("calibration", {}))
    job["evaluation"] = {"length": 128, "windows": 3, "split": "lines"}
    folder = temporary_folder()
    path, out = os.path.join(folder, "job.json"), os.path.join(folder, "out")
    json.dump(job, open(path, "w"))
    with open(os.path.join(folder, "events"), "wb") as sink:
        done = subprocess.run([QUANTD, "run", path, "--out", out, "--model", model, "--calibration-text", CALIBRATION,
                               "--evaluation-text", HELD_OUT, "--progress-fd", str(sink.fileno())],
                              pass_fds=[sink.fileno()], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    events = map(json.loads, open(os.path.join(folder, "events")))
    return out, job, next(event for event in events if event["event"] == "result")  # a heartbeat may come after it


def wide_model():
    """One block of the model with six times the features inside its mlp: 2304 of them, enough for a float32 sweep."""
    folder = copy_model(temporary_folder(), "model")
    config = json.load(open(os.path.join(folder, "config.json")))
    config.update(intermediate_size=6 * config["intermediate_size"], num_hidden_layers=1)
    json.dump(config, open(os.path.join(folder, "config.json"), "w"))
    tensors = {k: v for k, v in tensors_of(MODEL).items() if not k.startswith("model.layers.") or ".layers.0." in k}
    random = np.random.RandomState(1)
    for name in ("gate_proj", "up_proj", "down_proj"):
        key, axis = "model.layers.0.mlp.%s.weight" % name, int(name == "down_proj")
        w = np.concatenate([array(tensors[key])] * 6, axis)
        w = round_bf16(np.float32(w + 0.3 * w.std() * random.standard_normal(w.shape)).ravel()).reshape(w.shape)
        tensors[key] = ("BF16", list(w.shape), (w.view(np.uint32) >> np.uint32(16)).astype("<u2").tobytes())
    write_safetensors(os.path.join(folder, "model.safetensors"), tensors)
    return folder


def claim(name, model=lambda: MODEL, **fields):
    def check():
        if np is None:
            raise Skip("numpy is not installed")
        folder = model()
        out, job, result = run_job(fields, folder)
        check_run(folder, out, job, CALIBRATION, HELD_OUT, result)
    check.__name__ = name
    return check


if __name__ == "__main__":
    run_claims([
        claim("optq_4_bits_mse_bf16_scales_is_certified_by_its_own_artifact"),
        claim("optq_2_bits_integer_zero_groups_natural_order", bits=2, group_size=32, order="natural",
              alphabet={"kind": "int-asymmetric", "narrow": True}, scale={"rule": "minmax", "type": "bf16", "shrink": 0.8}),
        claim("optq_3_bits_float_zero_whole_rows_from_dequantized_weights", bits=3, group_size=0,
              alphabet={"kind": "int", "zero": "float"}, scale={"rule": "mse", "type": "f32"}, format="safetensors:f32"),
        claim("optq_5_bits_short_last_group_f16_scales_nothing_clips", bits=5, group_size=100,
              alphabet={"kind": "int-asymmetric"}, scale={"rule": "minmax", "type": "f16"}, format="safetensors:f32",
              regularization={"mean_diagonal": 1.0}),
        claim("optq_2304_columns_are_swept_in_float32_and_certified_all_the_same", model=wide_model,
              calibration={"samples": 8, "length": 128}),
        claim("optq_without_the_first_position_of_every_sequence", calibration={"first_position": "left-out"}),
        claim("qronos_repairs_inputs_and_residual_as_far_as_the_judging_part_confirms", algorithm="qronos", bits=3, group_size=0,
              alphabet={"kind": "int", "zero": "float"}, scale={"rule": "minmax", "type": "f32"}, format="safetensors:f32",
              mismatch={"scope": "model", "shrink": "auto", "start": "projected", "residual": True},
              calibration={"first_position": "left-out"}),
        claim("qronos_repairs_all_of_its_inputs_mismatch_and_no_residual", algorithm="qronos", bits=4, group_size=64,
              mismatch={"scope": "model", "shrink": 1, "start": "projected", "residual": False}),
        claim("optq_nf4_levels_from_dequantized_weights", alphabet="nf4", group_size=64, scale={"rule": "mse", "type": "f16"},
              format="safetensors:f32"),
        claim("optq_mxfp4_searched_exponents", alphabet="mxfp4", format="safetensors:f32"),
        claim("optq_own_levels_whole_rows_nothing_clips", alphabet={"levels": [-8, -5, -3, -2, -1, 0.25, 1, 2, 3.5, 5.5, 8]}, group_size=0,
              scale={"rule": "minmax", "type": "f32"}, format="safetensors:f32", regularization={"mean_diagonal": 1.0}),
        claim("optq_ternary_is_packed_in_two_bits", alphabet="ternary", group_size=32),
        claim("rtn_e2m1_expects_what_the_weights_lie_in", algorithm="rtn", alphabet="e2m1", group_size=32,
              scale={"rule": "minmax", "type": "bf16"}, format="safetensors:f32"),
        claim("optq_3_bits_in_a_hadamard_basis_with_random_signs", bits=3, group_size=0, seed=11, transforms=["hadamard"],
              alphabet={"kind": "int", "zero": "float"}, scale={"rule": "minmax", "type": "f32"}, format="safetensors:f32"),
        claim("rtn_2_bits_in_the_plain_hadamard_basis", algorithm="rtn", bits=2, group_size=64, format="safetensors:f32",
              transforms=[{"kind": "hadamard", "signs": "none"}], scale={"rule": "mse", "type": "bf16"}),
        claim("optq_refined_on_its_grid_is_certified_by_its_own_artifact", bits=4, refine={"beam": 4, "coordinate_descent": 2}),
        claim("optq_with_fitted_scales_is_certified_by_its_own_artifact", bits=2, group_size=32, alphabet="int-asymmetric",
              refine={"beam": 2, "coordinate_descent": 3, "refit_scales": True}),
        claim("qronos_in_a_hadamard_basis_repairs_the_residual_there", algorithm="qronos", bits=3, group_size=0, seed=5, transforms=["hadamard"],
              alphabet={"kind": "int", "zero": "float"}, scale={"rule": "minmax", "type": "f32"}, format="safetensors:f32",
              mismatch={"scope": "model", "shrink": "auto", "start": "projected", "residual": True},
              calibration={"first_position": "left-out"}),
        claim("qronos_with_fitted_scales_repairs_the_residual_on_its_final_grid", algorithm="qronos", bits=4, group_size=32,
              refine={"beam": 4, "coordinate_descent": 3, "refit_scales": True}, calibration={"first_position": "left-out"},
              mismatch={"scope": "model", "shrink": "auto", "start": "projected", "residual": True}),
        claim("optq_on_a_q4_0_grid_of_either_sign_frozen_before_the_sweep", format="gguf:q4_0", scale={"rule": "mse"}),
        claim("rtn_on_a_q4_1_grid_with_offsets", algorithm="rtn", format="gguf:q4_1", scale={"rule": "mse"}),
        claim("optq_on_a_q4_k_grid_where_rows_fit_and_on_q5_0_elsewhere", model=wide_model, format="gguf:q4_k", scale={"rule": "mse"},
              calibration={"samples": 8, "length": 128}),
        claim("rtn_with_data_has_its_own_bounds", algorithm="rtn", group_size=64, scale={"rule": "minmax", "type": "bf16"}),
    ])
