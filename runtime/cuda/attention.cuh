// Attention as FlashAttention computes it (Dao et al. 2022): tiles of queries meet tiles of keys in shared memory, and the
// matrix of probabilities is never stored. Arithmetic is fp32 whatever the operands are. The backward pass has one kernel
// that owns keys (dk, dv) and one that owns queries (dq), so that nothing is added by two blocks.
//
// A block has TILE rows of its own, each with TEAM threads of one warp; D is the head size, rounded up.
#pragma once

#include "ir/base/philox.h"

enum { TEAM = 8 };

template <int D> struct shape {
    static constexpr int TILE = D > 128 ? 16 : 32; // rows of a tile
    static constexpr int PITCH = D + 4;            // of a row in shared memory: rows start in different banks
    static constexpr int EACH = TILE / TEAM;       // pairs of a row that a thread has
    static constexpr int WIDTH = D / TEAM;         // columns of a row that a thread has
};

struct draw {
    uint64_t seed;
    uint32_t step;
    int64_t first;
};

__device__ inline draw draw_of(const cuda_attention &a)
{
    draw r = {};
    if (a.rng) r = {(uint64_t)a.rng[0], (uint32_t)a.rng[1], a.first_score ? *a.first_score : 0};
    return r;
}

// Not inlined: most models drop nothing, and its registers would be missed.
__device__ __noinline__ float uniform(uint64_t seed, uint32_t step, uint32_t salt, uint64_t element)
{
    return col_philox_at(seed, step, salt, element);
}

// What dropout multiplies the probability of query i and key j by.
__device__ inline float kept(const cuda_attention &a, const draw &r, int b, int h, int64_t i, int64_t j)
{
    if (!a.rng) return 1;
    uint64_t element = (uint64_t)(r.first + (((int64_t)b * a.all_heads + h) * a.t + i) * a.s + j);
    return uniform(r.seed, r.step, a.salt, element) < a.rate ? 0 : 1 / (1 - a.rate);
}

template <typename T> __device__ inline T *row_of(const cuda_heads &x, int b, int h, int64_t row)
{
    return (T *)x.data + b * x.batch + h * x.head + row * x.row;
}

// Rows [first, first + TILE) of one head, zeros beyond `rows` and d.
template <typename T, int D> __device__ void load_tile(float *to, const cuda_heads &x, int b, int h, int64_t first, int64_t rows, int d)
{
    using S = shape<D>;
    for (int i = threadIdx.x; i < S::TILE * D; i += S::TILE * TEAM) {
        int row = i / D, c = i % D;
        bool inside = first + row < rows && c < d;
        to[row * S::PITCH + c] = inside ? to_float(row_of<T>(x, b, h, first + row)[c]) : 0;
    }
}

template <int D> __device__ inline float dot(const float *x, const float *y)
{
    float sum = 0;
#pragma unroll
    for (int c = 0; c < D; c += 4) {
        float4 p = *(const float4 *)(x + c), q = *(const float4 *)(y + c);
        sum += p.x * q.x + p.y * q.y + p.z * q.z + p.w * q.w;
    }
    return sum;
}

// Score of query i and key j from their product; -inf where i does not see j.
template <typename T> __device__ inline float score(const cuda_attention &a, int b, int h, int64_t i, int64_t j, int64_t position, float product)
{
    if (j >= a.s || i >= a.t || (a.causal && j > position + i)) return -INFINITY;
    float x = product * a.scale;
    if (a.mask) {
        const T *mask = (const T *)a.mask;
        x += to_float(mask[b * a.mask_strides[0] + h * a.mask_strides[1] + i * a.mask_strides[2] + j * a.mask_strides[3]]);
    }
    return x;
}

__device__ inline float team_sum(float x)
{
    for (int o = TEAM / 2; o; o /= 2) x += __shfl_xor_sync(0xffffffff, x, o);
    return x;
}

__device__ inline float team_max(float x)
{
    for (int o = TEAM / 2; o; o /= 2) {
        float y = __shfl_xor_sync(0xffffffff, x, o);
        x = isnan(x) || x > y ? x : y; // NaN stays
    }
    return x;
}

// Adds sum over rows of weights[row] tile[row][c] to the thread's columns c = lane, lane + TEAM, ...
template <int D> __device__ inline void accumulate(float *sums, const float *weights, const float *tile, int lane)
{
    using S = shape<D>;
    for (int row = 0; row < S::TILE; row++) {
        float w = weights[row];
#pragma unroll
        for (int c = 0; c < S::WIDTH; c++) sums[c] += w * tile[row * S::PITCH + lane + c * TEAM];
    }
}

template <typename T, int D> __device__ inline void store_row(const cuda_heads &x, int b, int h, int64_t row, int d, const float *sums, int lane, float factor)
{
    T *to = row_of<T>(x, b, h, row);
#pragma unroll
    for (int c = 0; c < shape<D>::WIDTH; c++) {
        if (lane + c * TEAM < d) to[lane + c * TEAM] = from_float<T>(sums[c] * factor);
    }
}

// Grid: tiles of queries x heads x batches.
template <typename T, int D> __device__ void attention_forward(const cuda_attention &a)
{
    using S = shape<D>;
    extern __shared__ float4 shared[];
    float *q = (float *)shared, *k = q + S::TILE * S::PITCH, *v = k + S::TILE * S::PITCH;
    float *p = v + S::TILE * S::PITCH; // [TILE][TILE + 1]
    int own = threadIdx.x / TEAM, lane = threadIdx.x % TEAM, h = blockIdx.y, b = blockIdx.z;
    int64_t q0 = (int64_t)blockIdx.x * S::TILE, i = q0 + own, position = a.position ? max(min((int64_t)*a.position, a.s - 1), (int64_t)0) : 0;
    draw r = draw_of(a);
    float top = -INFINITY, total = 0, sums[S::WIDTH] = {};
    int64_t keys = a.causal ? min(a.s, position + q0 + S::TILE) : a.s;
    load_tile<T, D>(q, a.q, b, h, q0, a.t, a.d);
    for (int64_t k0 = 0; k0 < keys; k0 += S::TILE) {
        __syncthreads();
        load_tile<T, D>(k, a.k, b, h, k0, a.s, a.d);
        load_tile<T, D>(v, a.v, b, h, k0, a.s, a.d);
        __syncthreads();
        float scores[S::EACH], most = top, sum = 0;
#pragma unroll
        for (int e = 0; e < S::EACH; e++) {
            int j = lane + e * TEAM;
            scores[e] = score<T>(a, b, h, i, k0 + j, position, dot<D>(q + own * S::PITCH, k + j * S::PITCH));
            most = isnan(scores[e]) || scores[e] > most ? scores[e] : most;
        }
        most = team_max(most);
        float shrink = most == -INFINITY || top == -INFINITY ? (top == most ? 1.0f : 0.0f) : expf(top - most);
        if (isnan(most)) shrink = most;
#pragma unroll
        for (int e = 0; e < S::EACH; e++) {
            int j = lane + e * TEAM;
            float x = most == -INFINITY ? 0 : expf(scores[e] - most);
            sum += x;
            p[own * (S::TILE + 1) + j] = x != 0 ? x * kept(a, r, b, h, i, k0 + j) : 0;
        }
        total = total * shrink + team_sum(sum);
        top = most;
        for (int c = 0; c < S::WIDTH; c++) sums[c] *= shrink;
        __syncwarp();
        accumulate<D>(sums, p + own * (S::TILE + 1), v, lane);
    }
    if (i >= a.t) return;
    bool any = total != 0;
    store_row<T, D>(a.out, b, h, i, a.d, sums, lane, any ? 1 / total : 0);
    if (a.lse && lane == 0)
        a.lse[b * a.lse_batch + h * a.lse_head + i * a.lse_row] = any ? top + logf(total) : -INFINITY;
}

// delta_i = sum_c dout_ic out_ic, a warp a row. Grid: rows.
template <typename T> __device__ void attention_delta(const cuda_attention &a)
{
    int64_t row = thread_number() / 32;
    if (row >= (int64_t)a.b * a.h * a.t) return;
    int64_t i = row % a.t;
    int h = (int)(row / a.t % a.h), b = (int)(row / a.t / a.h);
    const T *out = row_of<T>(a.out, b, h, i), *dout = row_of<T>(a.dout, b, h, i);
    float sum = 0;
    for (int c = threadIdx.x % 32; c < a.d; c += 32) sum += to_float(out[c]) * to_float(dout[c]);
    for (int o = 16; o; o /= 2) sum += __shfl_xor_sync(0xffffffff, sum, o);
    if (threadIdx.x % 32 == 0) a.delta[row] = sum;
}

__device__ inline float lse_of(const cuda_attention &a, int b, int h, int64_t i)
{
    float lse = i < a.t ? a.lse[b * a.lse_batch + h * a.lse_head + i * a.lse_row] : INFINITY;
    return lse == -INFINITY ? INFINITY : lse; // a query that saw no key: all probabilities are 0
}

// The dropped-out probability of a pair and the gradient of its score. `dp`: dout_i v_j.
template <typename T>
__device__ inline void pair(const cuda_attention &a, const draw &r, int b, int h, int64_t i, int64_t j, float product, float dp,
                            float lse, float delta, float *out_p, float *out_ds)
{
    float x = score<T>(a, b, h, i, j, 0, product);
    float p = x == -INFINITY ? 0 : expf(x - lse), factor = p != 0 ? kept(a, r, b, h, i, j) : 0;
    *out_p = p * factor;
    *out_ds = p * (dp * factor - delta) * a.scale;
}

// Owns keys. Grid: tiles of keys x heads x batches.
template <typename T, int D> __device__ void attention_backward_keys(const cuda_attention &a)
{
    using S = shape<D>;
    extern __shared__ float4 shared[];
    float *k = (float *)shared, *v = k + S::TILE * S::PITCH, *q = v + S::TILE * S::PITCH, *dout = q + S::TILE * S::PITCH;
    float *p = dout + S::TILE * S::PITCH, *ds = p + S::TILE * (S::TILE + 1), *lse = ds + S::TILE * (S::TILE + 1);
    float *delta = lse + S::TILE;
    int own = threadIdx.x / TEAM, lane = threadIdx.x % TEAM, h = blockIdx.y, b = blockIdx.z;
    int64_t k0 = (int64_t)blockIdx.x * S::TILE, j = k0 + own;
    draw r = draw_of(a);
    float dk[S::WIDTH] = {}, dv[S::WIDTH] = {};
    load_tile<T, D>(k, a.k, b, h, k0, a.s, a.d);
    load_tile<T, D>(v, a.v, b, h, k0, a.s, a.d);
    for (int64_t q0 = a.causal ? k0 / S::TILE * S::TILE : 0; q0 < a.t; q0 += S::TILE) {
        __syncthreads();
        load_tile<T, D>(q, a.q, b, h, q0, a.t, a.d);
        load_tile<T, D>(dout, a.dout, b, h, q0, a.t, a.d);
        if (threadIdx.x < S::TILE) {
            int64_t i = q0 + threadIdx.x;
            lse[threadIdx.x] = lse_of(a, b, h, i);
            delta[threadIdx.x] = i < a.t ? a.delta[((int64_t)b * a.h + h) * a.t + i] : 0;
        }
        __syncthreads();
#pragma unroll
        for (int e = 0; e < S::EACH; e++) {
            int i = lane + e * TEAM, at = own * (S::TILE + 1) + i;
            float product = dot<D>(q + i * S::PITCH, k + own * S::PITCH), dp = dot<D>(dout + i * S::PITCH, v + own * S::PITCH);
            pair<T>(a, r, b, h, q0 + i, j, product, dp, lse[i], delta[i], &p[at], &ds[at]);
        }
        __syncwarp();
        accumulate<D>(dv, p + own * (S::TILE + 1), dout, lane);
        accumulate<D>(dk, ds + own * (S::TILE + 1), q, lane);
    }
    if (j >= a.s) return;
    store_row<T, D>(a.dk, b, h, j, a.d, dk, lane, 1);
    store_row<T, D>(a.dv, b, h, j, a.d, dv, lane, 1);
}

// Owns queries. Grid: tiles of queries x heads x batches.
template <typename T, int D> __device__ void attention_backward_queries(const cuda_attention &a)
{
    using S = shape<D>;
    extern __shared__ float4 shared[];
    float *q = (float *)shared, *dout = q + S::TILE * S::PITCH, *k = dout + S::TILE * S::PITCH, *v = k + S::TILE * S::PITCH;
    float *ds = v + S::TILE * S::PITCH;
    int own = threadIdx.x / TEAM, lane = threadIdx.x % TEAM, h = blockIdx.y, b = blockIdx.z;
    int64_t q0 = (int64_t)blockIdx.x * S::TILE, i = q0 + own, keys = a.causal ? min(a.s, q0 + S::TILE) : a.s;
    draw r = draw_of(a);
    float dq[S::WIDTH] = {}, lse = lse_of(a, b, h, i), delta = i < a.t ? a.delta[((int64_t)b * a.h + h) * a.t + i] : 0;
    load_tile<T, D>(q, a.q, b, h, q0, a.t, a.d);
    load_tile<T, D>(dout, a.dout, b, h, q0, a.t, a.d);
    for (int64_t k0 = 0; k0 < keys; k0 += S::TILE) {
        __syncthreads();
        load_tile<T, D>(k, a.k, b, h, k0, a.s, a.d);
        load_tile<T, D>(v, a.v, b, h, k0, a.s, a.d);
        __syncthreads();
#pragma unroll
        for (int e = 0; e < S::EACH; e++) {
            int j = lane + e * TEAM;
            float p, product = dot<D>(q + own * S::PITCH, k + j * S::PITCH), dp = dot<D>(dout + own * S::PITCH, v + j * S::PITCH);
            pair<T>(a, r, b, h, i, k0 + j, product, dp, lse, delta, &p, &ds[own * (S::TILE + 1) + j]);
        }
        __syncwarp();
        accumulate<D>(dq, ds + own * (S::TILE + 1), k, lane);
    }
    if (i < a.t) store_row<T, D>(a.dq, b, h, i, a.d, dq, lane, 1);
}

#define ATTENTION(suffix, T, D)                                                                                              \
    extern "C" __global__ void __launch_bounds__(shape<D>::TILE *TEAM) col_attention_forward_##suffix##_##D(cuda_attention a) \
    {                                                                                                                        \
        attention_forward<T, D>(a);                                                                                          \
    }                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(shape<D>::TILE *TEAM) col_attention_keys_##suffix##_##D(cuda_attention a)    \
    {                                                                                                                        \
        attention_backward_keys<T, D>(a);                                                                                    \
    }                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(shape<D>::TILE *TEAM) col_attention_queries_##suffix##_##D(cuda_attention a) \
    {                                                                                                                        \
        attention_backward_queries<T, D>(a);                                                                                 \
    }
#define ATTENTION_BY_SIZE(suffix, T)                                                                                         \
    ATTENTION(suffix, T, 64)                                                                                                 \
    ATTENTION(suffix, T, 128)                                                                                                \
    ATTENTION(suffix, T, 256)                                                                                                \
    extern "C" __global__ void col_attention_delta_##suffix(cuda_attention a) { attention_delta<T>(a); }
ATTENTION_BY_SIZE(f32, float)
ATTENTION_BY_SIZE(bf16, __nv_bfloat16)
ATTENTION_BY_SIZE(f16, __half)
