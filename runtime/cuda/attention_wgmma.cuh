// Attention of bf16 or f16 operands on the warpgroup products of wgmma.cuh: as attention_mma.cuh, with 64 rows of a warpgroup's own
// instead of a warp's 16. Tiles of the other side come through a ring of shared memory; several blocks share a
// multiprocessor, so that one's exponentials run beside another's products.
//
// PLAIN: neither mask nor dropout, and the scale is above 0.
#pragma once

#include "runtime/cuda/wgmma.cuh"

namespace hopper {

template <int D> struct plan {
    static constexpr int STAGES = D > 64 ? 2 : 3; // of the ring
    static constexpr int TILE = tile_bytes<D>(ROWS);
    static constexpr int STAGE = 2 * TILE;
    static constexpr int FORWARD_GROUPS = 2, FORWARD_THREADS = 128 * FORWARD_GROUPS, FORWARD_BLOCKS = D > 64 ? 1 : 2;
    static constexpr int BACKWARD_THREADS = 128, BACKWARD_BLOCKS = D > 64 ? 2 : 3;
};

__device__ inline float exp2_of(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

template <typename T> __device__ inline const T *head_of(const cuda_heads &x, int b, int h) { return row_of<T>(x, b, h, 0); }

__device__ inline int64_t clamp_to_tile(int64_t x) { return min(max(x, (int64_t)-1), (int64_t)ROWS); }

// The thread's column number n, e of a tile.
__device__ inline int column_of(int n, int e) { return n * 8 + threadIdx.x % 4 * 2 + e % 2; }
// The thread's first row of the warpgroup's 64; the other is 8 further.
__device__ inline int first_row() { return threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4; }

template <typename T, int D, bool PLAIN> __device__ void forward(const cuda_attention &a)
{
    using P = plan<D>;
    constexpr int OWN = ROWS * P::FORWARD_GROUPS;
    extern __shared__ __align__(1024) unsigned char tiles[];
    unsigned char *q = tiles, *ring = tiles + tile_bytes<D>(OWN);
    int group = threadIdx.x / 128, h = blockIdx.y, b = blockIdx.z;
    int64_t q0 = (int64_t)(gridDim.x - 1 - blockIdx.x) * OWN, first = q0 + group * ROWS, own = first + first_row(); // long rows first
    int64_t position = a.position ? max(min((int64_t)*a.position, a.s - 1), (int64_t)0) : 0;
    int all = (int)((a.s + ROWS - 1) / ROWS);
    int count = a.causal ? (int)min((int64_t)all, (position + q0 + OWN + ROWS - 1) / ROWS) : all;
    int seen = a.causal ? (int)min((int64_t)all, (position + first + ROWS + ROWS - 1) / ROWS) : all; // by the warpgroup
    const T *keys = head_of<T>(a.k, b, h), *values = head_of<T>(a.v, b, h);
    draw r = PLAIN ? draw{} : draw_of(a);
    float out[D / 8][4] = {}, top[2] = {-INFINITY, -INFINITY}, total[2] = {};
    auto fetch_keys = [&](int i) {
        unsigned char *stage = ring + i % P::STAGES * P::STAGE;
        fetch_tile<D, ROWS, P::FORWARD_THREADS>(stage, keys, a.k.row, (int64_t)i * ROWS, a.s, a.d);
        fetch_tile<D, ROWS, P::FORWARD_THREADS>(stage + P::TILE, values, a.v.row, (int64_t)i * ROWS, a.s, a.d);
    };
    fetch_tile<D, OWN, P::FORWARD_THREADS>(q, head_of<T>(a.q, b, h), a.q.row, q0, a.t, a.d);
    for (int i = 0; i < P::STAGES - 1; i++) {
        if (i < count) fetch_keys(i);
        tensor::fetch_commit();
    }
    for (int i = 0; i < count; i++) {
        tensor::fetch_wait<P::STAGES - 2>();
        show();
        __syncthreads(); // the tile is there, and nobody uses the one before
        if (i + P::STAGES - 1 < count) fetch_keys(i + P::STAGES - 1);
        tensor::fetch_commit();
        if (i >= seen) continue;
        const unsigned char *k = ring + i % P::STAGES * P::STAGE, *v = k + P::TILE;
        int64_t k0 = (int64_t)i * ROWS;
        float p[ROWS / 8][4];
        open();
        multiply_tiles<T, D, OWN>(p, q, group * ROWS, k);
        commit();
        wait<0>();
        hold(p);
        bool whole = k0 + ROWS <= a.s && (!a.causal || k0 + ROWS - 1 <= position + first);
        float factor = PLAIN ? a.scale * tensor::LOG2_E : 1;
        if (!PLAIN) {
            tensor::for_pairs<ROWS>(p, [&](int n, int e) {
                p[n][e] = tensor::scaled<T>(a, b, h, own + e / 2 * 8, k0 + column_of(n, e), position, p[n][e]);
            });
        } else if (!whole) {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                int64_t last = a.causal ? min(a.s - 1, position + own + half * 8) : a.s - 1;
                int bound = (int)clamp_to_tile(last - k0);
#pragma unroll
                for (int n = 0; n < ROWS / 8; n++) {
                    if (column_of(n, 0) > bound) p[n][2 * half] = -INFINITY;
                    if (column_of(n, 1) > bound) p[n][2 * half + 1] = -INFINITY;
                }
            }
        }
        float most[2] = {-INFINITY, -INFINITY}; // without NaNs, which come out of the sums
        tensor::for_pairs<ROWS>(p, [&](int n, int e) { most[e / 2] = fmaxf(most[e / 2], p[n][e]); });
#pragma unroll
        for (int half = 0; half < 2; half++) {
            for (int o = 1; o < 4; o *= 2) most[half] = fmaxf(most[half], __shfl_xor_sync(0xffffffff, most[half], o));
            most[half] = fmaxf(most[half] * factor, top[half]);
            float base = most[half] == -INFINITY ? 0 : most[half], shrink = exp2_of(top[half] - base);
            top[half] = most[half];
            most[half] = base;
            total[half] *= shrink;
#pragma unroll
            for (int n = 0; n < D / 8; n++) {
                out[n][2 * half] *= shrink;
                out[n][2 * half + 1] *= shrink;
            }
        }
        tensor::for_pairs<ROWS>(p, [&](int n, int e) {
            p[n][e] = exp2_of(fmaf(p[n][e], factor, -most[e / 2]));
            total[e / 2] += p[n][e];
        });
        if (!PLAIN && a.rng) {
            tensor::for_pairs<ROWS>(p, [&](int n, int e) { p[n][e] *= kept(a, r, b, h, own + e / 2 * 8, k0 + column_of(n, e)); });
        }
        uint32_t weights[4][4];
        pack_weights<T>(weights, p);
        open();
        multiply_weights<T, D>(out, weights, v);
        commit();
        wait<0>();
#pragma unroll
        for (int panel = 0; panel < D / PANEL; panel++) hold(out + panel * 8);
    }
    float factors[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        for (int o = 1; o < 4; o *= 2) total[half] += __shfl_xor_sync(0xffffffff, total[half], o);
        factors[half] = total[half] != 0 ? 1 / total[half] : 0;
        int64_t i = own + half * 8;
        if (a.lse && threadIdx.x % 4 == 0 && i < a.t)
            a.lse[b * a.lse_batch + h * a.lse_head + i * a.lse_row] = total[half] != 0 ? (top[half] + log2f(total[half])) * tensor::LN_2 : -INFINITY;
    }
    tensor::store_rows<T, D>(a.out, b, h, first + threadIdx.x % 128 / 32 * 16, a.t, a.d, out, factors);
}

// Delta and, behind all deltas, lse in units of log 2: +inf where a query saw no key, so that its probabilities are 0.
// A thread has 8 elements of a row. Grid: rows.
template <typename T, int D> __device__ void rows_delta(const cuda_attention &a)
{
    constexpr int EACH = 8, THREADS = D / EACH;
    int64_t row = thread_number() / THREADS, rows = (int64_t)a.b * a.h * a.t, i = row % a.t;
    int c = threadIdx.x % THREADS * EACH, h = (int)(row / a.t % a.h), b = (int)(row / a.t / a.h);
    float sum = 0;
    if (row < rows && c < a.d) {
        uint4 x = *(const uint4 *)(row_of<T>(a.out, b, h, i) + c), y = *(const uint4 *)(row_of<T>(a.dout, b, h, i) + c);
        const T *out = (const T *)&x, *dout = (const T *)&y;
#pragma unroll
        for (int e = 0; e < EACH; e++) sum += to_float(out[e]) * to_float(dout[e]);
    }
    for (int o = THREADS / 2; o; o /= 2) sum += __shfl_xor_sync(0xffffffff, sum, o);
    if (row >= rows || c) return;
    a.delta[row] = sum;
    a.delta[rows + row] = lse_of(a, b, h, i) * tensor::LOG2_E;
}

// Probabilities after dropout in `p` and gradients of scores, less the factor `scale`, in `ds`, from the products that
// they hold before. `at(n, e)` gives the pair.
template <typename T, bool PLAIN, typename F> __device__ inline void pair_gradients(const cuda_attention &a, const draw &r, int b, int h, float (*p)[4], float (*ds)[4], F at)
{
    if (PLAIN) {
        float factor = a.scale * tensor::LOG2_E;
        tensor::for_pairs<ROWS>(p, [&](int n, int e) {
            tensor::pair_place x = at(n, e);
            p[n][e] = exp2_of(fmaf(p[n][e], factor, -x.lse));
            ds[n][e] = p[n][e] * (ds[n][e] - x.delta);
        });
        return;
    }
    tensor::for_pairs<ROWS>(p, [&](int n, int e) {
        tensor::pair_place x = at(n, e);
        float probability = exp2_of(tensor::scaled<T>(a, b, h, x.i, x.j, 0, p[n][e]) - x.lse), factor = kept(a, r, b, h, x.i, x.j);
        p[n][e] = probability * factor;
        ds[n][e] = probability * (ds[n][e] * factor - x.delta);
    });
}

// Owns keys: dk, dv. Scores are transposed.
template <typename T, int D, bool PLAIN> __device__ void backward_keys(const cuda_attention &a)
{
    using P = plan<D>;
    extern __shared__ __align__(1024) unsigned char tiles[];
    unsigned char *k = tiles, *v = k + P::TILE, *ring = v + P::TILE;
    float *sums = (float *)(ring + P::STAGES * P::STAGE); // of each stage: lse, delta
    int h = blockIdx.y, b = blockIdx.z, all = (int)((a.t + ROWS - 1) / ROWS), begin = a.causal ? min((int)blockIdx.x, all) : 0;
    int64_t k0 = (int64_t)blockIdx.x * ROWS, own = k0 + first_row(), rows = (int64_t)a.b * a.h * a.t;
    const T *queries = head_of<T>(a.q, b, h), *gradients = head_of<T>(a.dout, b, h);
    const float *deltas = a.delta + ((int64_t)b * a.h + h) * a.t;
    draw r = PLAIN ? draw{} : draw_of(a);
    float dk[D / 8][4] = {}, dv[D / 8][4] = {};
    auto fetch_queries = [&](int i) {
        int at = i % P::STAGES, x = threadIdx.x % ROWS;
        int64_t q0 = (int64_t)i * ROWS;
        bool is_delta = threadIdx.x >= ROWS, inside = q0 + x < a.t;
        unsigned char *stage = ring + at * P::STAGE;
        fetch_tile<D, ROWS, P::BACKWARD_THREADS>(stage, queries, a.q.row, q0, a.t, a.d);
        fetch_tile<D, ROWS, P::BACKWARD_THREADS>(stage + P::TILE, gradients, a.dout.row, q0, a.t, a.d);
        asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(address(sums + at * 2 * ROWS + threadIdx.x)),
                     "l"(inside ? deltas + (is_delta ? 0 : rows) + q0 + x : deltas), "r"(inside ? 4 : 0));
    };
    fetch_tile<D, ROWS, P::BACKWARD_THREADS>(k, head_of<T>(a.k, b, h), a.k.row, k0, a.s, a.d);
    fetch_tile<D, ROWS, P::BACKWARD_THREADS>(v, head_of<T>(a.v, b, h), a.v.row, k0, a.s, a.d);
    for (int i = begin; i < begin + P::STAGES - 1; i++) {
        if (i < all) fetch_queries(i);
        tensor::fetch_commit();
    }
    for (int i = begin; i < all; i++) {
        tensor::fetch_wait<P::STAGES - 2>();
        show();
        __syncthreads();
        if (i + P::STAGES - 1 < all) fetch_queries(i + P::STAGES - 1);
        tensor::fetch_commit();
        const unsigned char *q = ring + i % P::STAGES * P::STAGE, *dout = q + P::TILE;
        const float *lse = sums + i % P::STAGES * 2 * ROWS, *delta = lse + ROWS;
        int64_t q0 = (int64_t)i * ROWS;
        float p[ROWS / 8][4], ds[ROWS / 8][4];
        open();
        multiply_tiles<T, D, ROWS>(p, k, 0, q);
        commit();
        multiply_tiles<T, D, ROWS>(ds, v, 0, dout);
        commit();
        wait<0>();
        hold(p);
        hold(ds);
        if (PLAIN && a.causal && q0 < k0 + ROWS - 1) { // on the diagonal
#pragma unroll
            for (int half = 0; half < 2; half++) {
                int bound = (int)clamp_to_tile(own + half * 8 - q0);
#pragma unroll
                for (int n = 0; n < ROWS / 8; n++) {
                    if (column_of(n, 0) < bound) p[n][2 * half] = -INFINITY;
                    if (column_of(n, 1) < bound) p[n][2 * half + 1] = -INFINITY;
                }
            }
        }
        pair_gradients<T, PLAIN>(a, r, b, h, p, ds, [&](int n, int e) {
            float2 x = *(const float2 *)(lse + column_of(n, 0)), y = *(const float2 *)(delta + column_of(n, 0));
            return tensor::pair_place{q0 + column_of(n, e), own + e / 2 * 8, e % 2 ? x.y : x.x, e % 2 ? y.y : y.x};
        });
        uint32_t weights[2][4][4];
        pack_weights<T>(weights[0], p);
        pack_weights<T>(weights[1], ds);
        open();
        multiply_weights<T, D>(dv, weights[0], dout);
        multiply_weights<T, D>(dk, weights[1], q);
        commit();
        wait<0>();
#pragma unroll
        for (int panel = 0; panel < D / PANEL; panel++) {
            hold(dk + panel * 8);
            hold(dv + panel * 8);
        }
    }
    const float ones[2] = {1, 1}, scales[2] = {a.scale, a.scale};
    int64_t first = k0 + threadIdx.x / 32 * 16;
    tensor::store_rows<T, D>(a.dk, b, h, first, a.s, a.d, dk, scales);
    tensor::store_rows<T, D>(a.dv, b, h, first, a.s, a.d, dv, ones);
}

// Owns queries: dq.
template <typename T, int D, bool PLAIN> __device__ void backward_queries(const cuda_attention &a)
{
    using P = plan<D>;
    extern __shared__ __align__(1024) unsigned char tiles[];
    unsigned char *q = tiles, *dout = q + P::TILE, *ring = dout + P::TILE;
    int h = blockIdx.y, b = blockIdx.z, all = (int)((a.s + ROWS - 1) / ROWS);
    int64_t block = gridDim.x - 1 - blockIdx.x, q0 = block * ROWS, own = q0 + first_row(), rows = (int64_t)a.b * a.h * a.t;
    int count = a.causal ? (int)min((int64_t)all, block + 1) : all;
    const T *keys = head_of<T>(a.k, b, h), *values = head_of<T>(a.v, b, h);
    draw r = PLAIN ? draw{} : draw_of(a);
    float dq[D / 8][4] = {}, lse[2], delta[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int64_t i = own + half * 8, at = ((int64_t)b * a.h + h) * a.t + i;
        delta[half] = i < a.t ? a.delta[at] : 0;
        lse[half] = i < a.t ? a.delta[rows + at] : 0;
    }
    auto fetch_keys = [&](int i) {
        unsigned char *stage = ring + i % P::STAGES * P::STAGE;
        fetch_tile<D, ROWS, P::BACKWARD_THREADS>(stage, keys, a.k.row, (int64_t)i * ROWS, a.s, a.d);
        fetch_tile<D, ROWS, P::BACKWARD_THREADS>(stage + P::TILE, values, a.v.row, (int64_t)i * ROWS, a.s, a.d);
    };
    fetch_tile<D, ROWS, P::BACKWARD_THREADS>(q, head_of<T>(a.q, b, h), a.q.row, q0, a.t, a.d);
    fetch_tile<D, ROWS, P::BACKWARD_THREADS>(dout, head_of<T>(a.dout, b, h), a.dout.row, q0, a.t, a.d);
    for (int i = 0; i < P::STAGES - 1; i++) {
        if (i < count) fetch_keys(i);
        tensor::fetch_commit();
    }
    for (int i = 0; i < count; i++) {
        tensor::fetch_wait<P::STAGES - 2>();
        show();
        __syncthreads();
        if (i + P::STAGES - 1 < count) fetch_keys(i + P::STAGES - 1);
        tensor::fetch_commit();
        const unsigned char *k = ring + i % P::STAGES * P::STAGE, *v = k + P::TILE;
        int64_t k0 = (int64_t)i * ROWS;
        float p[ROWS / 8][4], ds[ROWS / 8][4];
        open();
        multiply_tiles<T, D, ROWS>(p, q, 0, k);
        commit();
        multiply_tiles<T, D, ROWS>(ds, dout, 0, v);
        commit();
        wait<0>();
        hold(p);
        hold(ds);
        if (PLAIN && (k0 + ROWS > a.s || (a.causal && k0 + ROWS - 1 > q0))) {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                int64_t last = a.causal ? min(a.s - 1, own + half * 8) : a.s - 1;
                int bound = (int)clamp_to_tile(last - k0);
#pragma unroll
                for (int n = 0; n < ROWS / 8; n++) {
                    if (column_of(n, 0) > bound) p[n][2 * half] = -INFINITY;
                    if (column_of(n, 1) > bound) p[n][2 * half + 1] = -INFINITY;
                }
            }
        }
        pair_gradients<T, PLAIN>(a, r, b, h, p, ds, [&](int n, int e) {
            return tensor::pair_place{own + e / 2 * 8, k0 + column_of(n, e), lse[e / 2], delta[e / 2]};
        });
        uint32_t weights[4][4];
        pack_weights<T>(weights, ds);
        open();
        multiply_weights<T, D>(dq, weights, k);
        commit();
        wait<0>();
#pragma unroll
        for (int panel = 0; panel < D / PANEL; panel++) hold(dq + panel * 8);
    }
    const float scales[2] = {a.scale, a.scale};
    tensor::store_rows<T, D>(a.dq, b, h, q0 + threadIdx.x / 32 * 16, a.t, a.d, dq, scales);
}

} // namespace hopper

#define HOPPER_ATTENTION(suffix, T, D, kind, PLAIN)                                                                          \
    extern "C" __global__ void __launch_bounds__(hopper::plan<D>::FORWARD_THREADS, hopper::plan<D>::FORWARD_BLOCKS)          \
        col_attention_hopper_forward_##suffix##_##kind##_##D(__grid_constant__ const cuda_attention a)                       \
    {                                                                                                                        \
        hopper::forward<T, D, PLAIN>(a);                                                                                     \
    }                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(hopper::plan<D>::BACKWARD_THREADS, hopper::plan<D>::BACKWARD_BLOCKS)        \
        col_attention_hopper_keys_##suffix##_##kind##_##D(__grid_constant__ const cuda_attention a)                          \
    {                                                                                                                        \
        hopper::backward_keys<T, D, PLAIN>(a);                                                                               \
    }                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(hopper::plan<D>::BACKWARD_THREADS, hopper::plan<D>::BACKWARD_BLOCKS)        \
        col_attention_hopper_queries_##suffix##_##kind##_##D(__grid_constant__ const cuda_attention a)                       \
    {                                                                                                                        \
        hopper::backward_queries<T, D, PLAIN>(a);                                                                            \
    }
#define HOPPER_BY_SIZE(suffix, T, D)                                                                                         \
    HOPPER_ATTENTION(suffix, T, D, plain, true)                                                                              \
    HOPPER_ATTENTION(suffix, T, D, general, false)                                                                           \
    extern "C" __global__ void col_attention_hopper_delta_##suffix##_##D(__grid_constant__ const cuda_attention a)           \
    {                                                                                                                        \
        hopper::rows_delta<T, D>(a);                                                                                         \
    }
HOPPER_BY_SIZE(bf16, __nv_bfloat16, 64)
HOPPER_BY_SIZE(bf16, __nv_bfloat16, 128)
HOPPER_BY_SIZE(f16, __half, 64)
HOPPER_BY_SIZE(f16, __half, 128)
