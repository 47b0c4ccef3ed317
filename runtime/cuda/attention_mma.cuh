// Attention of bf16 or f16 operands on tensor cores: as attention.cuh, with mma.m16n8k16 (PTX ISA, "Matrix fragments for
// mma.m16n8k16"). A warp owns 16 rows: of queries in the forward pass and for dq, of keys for dk and dv, where scores are
// transposed. Probabilities go from the accumulators of one product to the operand of the next without leaving registers.
// Tiles of the other side come through shared memory, the next one on its way while the present one is used.
#pragma once

namespace tensor {

enum { KEYS = 64 }; // of a tile, in the forward pass

template <int D> struct tile {
    static constexpr int PITCH = D + 8;             // elements of a row: rows start in different banks
    static constexpr int OTHERS = D > 64 ? 32 : 64; // rows of the other side's tiles, in the backward pass
};

constexpr float LOG2_E = 1.4426950408889634f, LN_2 = 0.6931471805599453f;

__device__ inline uint32_t address(const void *at) { return (uint32_t)__cvta_generic_to_shared(at); }

// 16 bytes on their way to shared memory; zeros where not `inside`.
__device__ inline void fetch(void *to, const void *from, bool inside)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address(to)), "l"(from), "r"(inside ? 16 : 0));
}
__device__ inline void fetch_commit() { asm volatile("cp.async.commit_group;"); }
template <int LEFT> __device__ inline void fetch_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(LEFT)); }

template <bool TRANSPOSED> __device__ inline void load_matrices(uint32_t *x, const void *at)
{
    if (TRANSPOSED)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                     : "r"(address(at)));
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                     : "r"(address(at)));
}

template <typename T> __device__ inline void multiply_add(float *c, const uint32_t *a, const uint32_t *b);
#define TENSOR_MULTIPLY(T, name)                                                                                             \
    template <> __device__ inline void multiply_add<T>(float *c, const uint32_t *a, const uint32_t *b)                       \
    {                                                                                                                        \
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." name "." name ".f32 "                                          \
                     "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"                                                 \
                     : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                                                        \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                                    \
    }
TENSOR_MULTIPLY(__nv_bfloat16, "bf16")
TENSOR_MULTIPLY(__half, "f16")

template <typename T> __device__ inline uint32_t pack(float low, float high)
{
    T pair[2] = {from_float<T>(low), from_float<T>(high)};
    uint32_t bits;
    memcpy(&bits, pair, sizeof bits);
    return bits;
}

// Rows [first, first + ROWS) of a head on their way to shared memory.
template <typename T, int D, int ROWS, int THREADS>
__device__ inline void fetch_tile(T *to, const cuda_heads &x, int b, int h, int64_t first, int64_t rows, int d)
{
    constexpr int PIECES = D / 8;
    for (int i = threadIdx.x; i < ROWS * PIECES; i += THREADS) {
        int row = i / PIECES, c = i % PIECES * 8;
        bool inside = first + row < rows && c < d;
        fetch(to + row * tile<D>::PITCH + c, inside ? row_of<T>(x, b, h, first + row) + c : x.data, inside);
    }
}

// The left operand: rows [row, row + 16), columns [k, k + 16) of a tile.
template <typename T, int D> __device__ inline void load_left(uint32_t *a, const T *tile_at, int row, int k)
{
    int lane = threadIdx.x % 32;
    load_matrices<false>(a, tile_at + (row + lane % 16) * tile<D>::PITCH + k + lane / 16 * 8);
}

// c[rows of a] [COLUMNS] += a tile', `a` being columns [k, k + 16) of the left operand: the tile's rows are columns here.
template <typename T, int D, int COLUMNS> __device__ inline void multiply_rows(float (*c)[4], const uint32_t *a, const T *tile_at, int k)
{
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int n = 0; n < COLUMNS; n += 16) {
        uint32_t x[4];
        load_matrices<false>(x, tile_at + (n + lane % 8 + lane / 16 * 8) * tile<D>::PITCH + k + lane / 8 % 2 * 8);
        multiply_add<T>(c[n / 8], a, x);
        multiply_add<T>(c[n / 8 + 1], a, x + 2);
    }
}

// c [D] += weights tile, where the weights [16, ROWS] lie as accumulators do.
template <typename T, int D, int ROWS> __device__ inline void multiply_weights(float (*c)[4], const float (*weights)[4], const T *tile_at)
{
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int k = 0; k < ROWS; k += 16) {
        const float *low = weights[k / 8], *high = weights[k / 8 + 1];
        uint32_t a[4] = {pack<T>(low[0], low[1]), pack<T>(low[2], low[3]), pack<T>(high[0], high[1]), pack<T>(high[2], high[3])};
#pragma unroll
        for (int n = 0; n < D; n += 16) {
            uint32_t x[4];
            load_matrices<true>(x, tile_at + (k + lane % 8 + lane / 8 % 2 * 8) * tile<D>::PITCH + n + lane / 16 * 8);
            multiply_add<T>(c[n / 8], a, x);
            multiply_add<T>(c[n / 8 + 1], a, x + 2);
        }
    }
}

template <typename T, int D> __device__ inline void store_rows(const cuda_heads &x, int b, int h, int64_t first, int64_t rows, int d, const float (*c)[4], const float *factors)
{
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int64_t row = first + lane / 4 + half * 8;
        if (row >= rows) continue;
        T *to = row_of<T>(x, b, h, row);
#pragma unroll
        for (int n = 0; n < D; n += 8) {
            int column = n + lane % 4 * 2;
            if (column < d) *(uint32_t *)(to + column) = pack<T>(c[n / 8][2 * half] * factors[half], c[n / 8][2 * half + 1] * factors[half]);
        }
    }
}

// A score in units of log 2; -inf where query i does not see key j.
template <typename T> __device__ inline float scaled(const cuda_attention &a, int b, int h, int64_t i, int64_t j, int64_t position, float product)
{
    float x = score<T>(a, b, h, i, j, position, product);
    return x * LOG2_E;
}

// Calls visit(n, e) for what a thread has of [16, COLUMNS]: element e of the columns from 8 n on.
template <int COLUMNS, typename F> __device__ inline void for_pairs(float (*)[4], F visit)
{
#pragma unroll
    for (int n = 0; n < COLUMNS / 8; n++) {
#pragma unroll
        for (int e = 0; e < 4; e++) visit(n, e);
    }
}

template <typename T, int D> __device__ void forward(const cuda_attention &a)
{
    constexpr int WARPS = 4, ROWS = 16 * WARPS, THREADS = 32 * WARPS, PITCH = tile<D>::PITCH;
    extern __shared__ float4 shared[];
    T *q = (T *)shared, *k = q + ROWS * PITCH, *v = k + 2 * KEYS * PITCH;
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, h = blockIdx.y, b = blockIdx.z;
    int64_t q0 = (int64_t)(gridDim.x - 1 - blockIdx.x) * ROWS, own = q0 + warp * 16; // long rows first
    int64_t position = a.position ? max(min((int64_t)*a.position, a.s - 1), (int64_t)0) : 0;
    int64_t keys = a.causal ? min(a.s, position + q0 + ROWS) : a.s;
    draw r = draw_of(a);
    float out[D / 8][4] = {}, top[2] = {-INFINITY, -INFINITY}, total[2] = {};
    uint32_t left[D / 16][4];
    fetch_tile<T, D, ROWS, THREADS>(q, a.q, b, h, q0, a.t, a.d);
    fetch_tile<T, D, KEYS, THREADS>(k, a.k, b, h, 0, a.s, a.d);
    fetch_tile<T, D, KEYS, THREADS>(v, a.v, b, h, 0, a.s, a.d);
    fetch_commit();
    int buffer = 0;
    for (int64_t k0 = 0; k0 < keys; k0 += KEYS, buffer ^= 1) {
        int next = (buffer ^ 1) * KEYS * PITCH;
        if (k0 + KEYS < keys) {
            fetch_tile<T, D, KEYS, THREADS>(k + next, a.k, b, h, k0 + KEYS, a.s, a.d);
            fetch_tile<T, D, KEYS, THREADS>(v + next, a.v, b, h, k0 + KEYS, a.s, a.d);
        }
        fetch_commit();
        fetch_wait<1>();
        __syncthreads();
        if (k0 == 0) {
#pragma unroll
            for (int c = 0; c < D / 16; c++) load_left<T, D>(left[c], q, warp * 16, c * 16);
        }
        float p[KEYS / 8][4] = {};
#pragma unroll
        for (int c = 0; c < D / 16; c++) multiply_rows<T, D, KEYS>(p, left[c], k + buffer * KEYS * PITCH, c * 16);
        bool plain = !a.mask && k0 + KEYS <= a.s && (!a.causal || k0 + KEYS - 1 <= position + own);
        for_pairs<KEYS>(p, [&](int n, int e) {
            if (plain) p[n][e] *= a.scale * LOG2_E;
        });
        if (!plain) {
            for_pairs<KEYS>(p, [&](int n, int e) {
                int64_t i = own + lane / 4 + e / 2 * 8, j = k0 + n * 8 + lane % 4 * 2 + e % 2;
                p[n][e] = scaled<T>(a, b, h, i, j, position, p[n][e]);
            });
        }
        float most[2] = {top[0], top[1]}; // without NaNs, which come out of the sums
        for_pairs<KEYS>(p, [&](int n, int e) { most[e / 2] = fmaxf(most[e / 2], p[n][e]); });
#pragma unroll
        for (int half = 0; half < 2; half++) {
            for (int o = 1; o < 4; o *= 2) most[half] = fmaxf(most[half], __shfl_xor_sync(0xffffffff, most[half], o));
            float base = most[half] == -INFINITY ? 0 : most[half], shrink = exp2f(top[half] - base);
            top[half] = most[half];
            most[half] = base;
            total[half] *= shrink;
#pragma unroll
            for (int n = 0; n < D / 8; n++) {
                out[n][2 * half] *= shrink;
                out[n][2 * half + 1] *= shrink;
            }
        }
        for_pairs<KEYS>(p, [&](int n, int e) {
            p[n][e] = exp2f(p[n][e] - most[e / 2]);
            total[e / 2] += p[n][e];
        });
        if (a.rng) {
            for_pairs<KEYS>(p, [&](int n, int e) {
                p[n][e] *= kept(a, r, b, h, own + lane / 4 + e / 2 * 8, k0 + n * 8 + lane % 4 * 2 + e % 2);
            });
        }
        multiply_weights<T, D, KEYS>(out, p, v + buffer * KEYS * PITCH);
        __syncthreads();
    }
    float factors[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        for (int o = 1; o < 4; o *= 2) total[half] += __shfl_xor_sync(0xffffffff, total[half], o);
        factors[half] = total[half] != 0 ? 1 / total[half] : 0;
        int64_t i = own + lane / 4 + half * 8;
        if (a.lse && lane % 4 == 0 && i < a.t)
            a.lse[b * a.lse_batch + h * a.lse_head + i * a.lse_row] = total[half] != 0 ? (top[half] + log2f(total[half])) * LN_2 : -INFINITY;
    }
    store_rows<T, D>(a.out, b, h, own, a.t, a.d, out, factors);
}

// Probabilities after dropout and gradients of scores, from the products that `p` and `ds` hold before. `at(n, e)` gives
// a pair's query, key, lse and delta; all keys are seen where it is plain.
struct pair_place {
    int64_t i, j;
    float lse, delta;
};
template <typename T, int COLUMNS, typename F>
__device__ inline void pair_gradients(const cuda_attention &a, const draw &r, int b, int h, bool plain, float (*p)[4], float (*ds)[4], F at)
{
    if (plain && !a.rng) {
        for_pairs<COLUMNS>(p, [&](int n, int e) {
            pair_place x = at(n, e);
            p[n][e] = exp2f(p[n][e] * (a.scale * LOG2_E) - x.lse);
            ds[n][e] = p[n][e] * (ds[n][e] - x.delta) * a.scale;
        });
        return;
    }
    for_pairs<COLUMNS>(p, [&](int n, int e) {
        pair_place x = at(n, e);
        float probability = exp2f(scaled<T>(a, b, h, x.i, x.j, 0, p[n][e]) - x.lse), factor = kept(a, r, b, h, x.i, x.j);
        p[n][e] = probability * factor;
        ds[n][e] = probability * (ds[n][e] * factor - x.delta) * a.scale;
    });
}

// Owns keys: dk, dv.
template <typename T, int D> __device__ void backward_keys(const cuda_attention &a)
{
    constexpr int WARPS = 4, ROWS = 16 * WARPS, THREADS = 32 * WARPS, PITCH = tile<D>::PITCH, OTHERS = tile<D>::OTHERS;
    extern __shared__ float4 shared[];
    T *k = (T *)shared, *v = k + ROWS * PITCH, *q = v + ROWS * PITCH, *dout = q + 2 * OTHERS * PITCH;
    float *lse = (float *)(dout + 2 * OTHERS * PITCH), *delta = lse + 2 * OTHERS;
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, h = blockIdx.y, b = blockIdx.z;
    int64_t k0 = (int64_t)blockIdx.x * ROWS, own = k0 + warp * 16, first = a.causal ? k0 / OTHERS * OTHERS : 0;
    draw r = draw_of(a);
    float dk[D / 8][4] = {}, dv[D / 8][4] = {};
    auto fetch_queries = [&](int64_t q0, int buffer) {
        fetch_tile<T, D, OTHERS, THREADS>(q + buffer * OTHERS * PITCH, a.q, b, h, q0, a.t, a.d);
        fetch_tile<T, D, OTHERS, THREADS>(dout + buffer * OTHERS * PITCH, a.dout, b, h, q0, a.t, a.d);
        if (threadIdx.x < OTHERS) {
            int64_t i = q0 + threadIdx.x;
            lse[buffer * OTHERS + threadIdx.x] = lse_of(a, b, h, i) * LOG2_E;
            delta[buffer * OTHERS + threadIdx.x] = i < a.t ? a.delta[((int64_t)b * a.h + h) * a.t + i] : 0;
        }
    };
    fetch_tile<T, D, ROWS, THREADS>(k, a.k, b, h, k0, a.s, a.d);
    fetch_tile<T, D, ROWS, THREADS>(v, a.v, b, h, k0, a.s, a.d);
    fetch_queries(first, 0);
    fetch_commit();
    int buffer = 0;
    for (int64_t q0 = first; q0 < a.t; q0 += OTHERS, buffer ^= 1) {
        if (q0 + OTHERS < a.t) fetch_queries(q0 + OTHERS, buffer ^ 1);
        fetch_commit();
        fetch_wait<1>();
        __syncthreads();
        const T *queries = q + buffer * OTHERS * PITCH, *gradients = dout + buffer * OTHERS * PITCH;
        float p[OTHERS / 8][4] = {}, ds[OTHERS / 8][4] = {};
#pragma unroll
        for (int c = 0; c < D; c += 16) {
            uint32_t left[4];
            load_left<T, D>(left, k, warp * 16, c);
            multiply_rows<T, D, OTHERS>(p, left, queries, c);
            load_left<T, D>(left, v, warp * 16, c);
            multiply_rows<T, D, OTHERS>(ds, left, gradients, c);
        }
        bool plain = !a.mask && own + 16 <= a.s && q0 + OTHERS <= a.t && (!a.causal || own + 15 <= q0);
        pair_gradients<T, OTHERS>(a, r, b, h, plain, p, ds, [&](int n, int e) {
            int at = n * 8 + lane % 4 * 2 + e % 2;
            return pair_place{q0 + at, own + lane / 4 + e / 2 * 8, lse[buffer * OTHERS + at], delta[buffer * OTHERS + at]};
        });
        multiply_weights<T, D, OTHERS>(dv, p, gradients);
        multiply_weights<T, D, OTHERS>(dk, ds, queries);
        __syncthreads();
    }
    const float ones[2] = {1, 1};
    store_rows<T, D>(a.dk, b, h, own, a.s, a.d, dk, ones);
    store_rows<T, D>(a.dv, b, h, own, a.s, a.d, dv, ones);
}

// Owns queries: dq.
template <typename T, int D> __device__ void backward_queries(const cuda_attention &a)
{
    constexpr int WARPS = 4, ROWS = 16 * WARPS, THREADS = 32 * WARPS, PITCH = tile<D>::PITCH, OTHERS = tile<D>::OTHERS;
    extern __shared__ float4 shared[];
    T *q = (T *)shared, *dout = q + ROWS * PITCH, *k = dout + ROWS * PITCH, *v = k + 2 * OTHERS * PITCH;
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, h = blockIdx.y, b = blockIdx.z;
    int64_t q0 = (int64_t)(gridDim.x - 1 - blockIdx.x) * ROWS, own = q0 + warp * 16, keys = a.causal ? min(a.s, q0 + ROWS) : a.s;
    draw r = draw_of(a);
    float dq[D / 8][4] = {}, lse[2], delta[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int64_t i = own + lane / 4 + half * 8;
        lse[half] = lse_of(a, b, h, i) * LOG2_E;
        delta[half] = i < a.t ? a.delta[((int64_t)b * a.h + h) * a.t + i] : 0;
    }
    auto fetch_keys = [&](int64_t k0, int buffer) {
        fetch_tile<T, D, OTHERS, THREADS>(k + buffer * OTHERS * PITCH, a.k, b, h, k0, a.s, a.d);
        fetch_tile<T, D, OTHERS, THREADS>(v + buffer * OTHERS * PITCH, a.v, b, h, k0, a.s, a.d);
    };
    fetch_tile<T, D, ROWS, THREADS>(q, a.q, b, h, q0, a.t, a.d);
    fetch_tile<T, D, ROWS, THREADS>(dout, a.dout, b, h, q0, a.t, a.d);
    fetch_keys(0, 0);
    fetch_commit();
    int buffer = 0;
    for (int64_t k0 = 0; k0 < keys; k0 += OTHERS, buffer ^= 1) {
        if (k0 + OTHERS < keys) fetch_keys(k0 + OTHERS, buffer ^ 1);
        fetch_commit();
        fetch_wait<1>();
        __syncthreads();
        const T *own_keys = k + buffer * OTHERS * PITCH, *values = v + buffer * OTHERS * PITCH;
        float p[OTHERS / 8][4] = {}, ds[OTHERS / 8][4] = {};
#pragma unroll
        for (int c = 0; c < D; c += 16) {
            uint32_t left[4];
            load_left<T, D>(left, q, warp * 16, c);
            multiply_rows<T, D, OTHERS>(p, left, own_keys, c);
            load_left<T, D>(left, dout, warp * 16, c);
            multiply_rows<T, D, OTHERS>(ds, left, values, c);
        }
        bool plain = !a.mask && k0 + OTHERS <= a.s && own + 16 <= a.t && (!a.causal || k0 + OTHERS - 1 <= own);
        pair_gradients<T, OTHERS>(a, r, b, h, plain, p, ds, [&](int n, int e) {
            return pair_place{own + lane / 4 + e / 2 * 8, k0 + n * 8 + lane % 4 * 2 + e % 2, lse[e / 2], delta[e / 2]};
        });
        multiply_weights<T, D, OTHERS>(dq, ds, own_keys);
        __syncthreads();
    }
    const float ones[2] = {1, 1};
    store_rows<T, D>(a.dq, b, h, own, a.t, a.d, dq, ones);
}

} // namespace tensor

#define TENSOR_ATTENTION(suffix, T, D)                                                                                       \
    extern "C" __global__ void __launch_bounds__(128) col_attention_tensor_forward_##suffix##_##D(cuda_attention a)          \
    {                                                                                                                        \
        tensor::forward<T, D>(a);                                                                                            \
    }                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(128) col_attention_tensor_keys_##suffix##_##D(cuda_attention a)             \
    {                                                                                                                        \
        tensor::backward_keys<T, D>(a);                                                                                      \
    }                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(128) col_attention_tensor_queries_##suffix##_##D(cuda_attention a)          \
    {                                                                                                                        \
        tensor::backward_queries<T, D>(a);                                                                                   \
    }
TENSOR_ATTENTION(bf16, __nv_bfloat16, 64)
TENSOR_ATTENTION(bf16, __nv_bfloat16, 128)
TENSOR_ATTENTION(f16, __half, 64)
TENSOR_ATTENTION(f16, __half, 128)
