// Kernels of the CUDA device for the instructions that the compiler makes no code for: moves, scatters, pools, attention,
// and products that no library takes. Compiled to PTX for sm_80 when colc_cuda.so is built; entries are called by name.
// All sums have an order that depends on the shapes alone, so a run gives the same bits each time.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

#include "runtime/cuda/kernels.h"

template <typename T> __device__ inline float to_float(T x) { return (float)x; }
template <> __device__ inline float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }
template <> __device__ inline float to_float(__half x) { return __half2float(x); }
template <typename T> __device__ inline T from_float(float x) { return (T)x; }
template <> __device__ inline __nv_bfloat16 from_float(float x) { return __float2bfloat16_rn(x); }
template <> __device__ inline __half from_float(float x) { return __float2half_rn(x); }

__device__ inline int64_t thread_number() { return (int64_t)blockIdx.x * blockDim.x + threadIdx.x; }

// Strided copies: element `i` in row-major order of `dims`.

template <typename T> __device__ void copy_element(const cuda_copy &w, void *to, const void *from)
{
    int64_t i = thread_number(), a = 0, b = 0;
    if (i >= w.count) return;
    for (int d = w.rank - 1; d >= 0; d--) {
        int64_t at = i % w.dims[d];
        i /= w.dims[d];
        a += at * w.to_strides[d];
        b += at * w.from_strides[d];
    }
    ((T *)to)[a] = from ? ((const T *)from)[b] : T();
}

__device__ void copy_any(const cuda_copy &w, void *to, const void *from)
{
    if (w.element == 1) copy_element<uint8_t>(w, to, from);
    if (w.element == 2) copy_element<uint16_t>(w, to, from);
    if (w.element == 4) copy_element<uint32_t>(w, to, from);
    if (w.element == 8) copy_element<uint64_t>(w, to, from);
}

// `from` NULL: zeros.
extern "C" __global__ void col_copy(cuda_copy w, void *to, const void *from) { copy_any(w, to, from); }

// Random numbers that are of the order of 0.1 as 16 or 32 bits: the exponent is nearly the same in each half.
extern "C" __global__ void col_noise(uint32_t *words, uint64_t count)
{
    for (uint64_t i = (uint64_t)thread_number(); i < count; i += (uint64_t)gridDim.x * blockDim.x) {
        uint32_t h = (uint32_t)i * 2654435761u;
        h = (h ^ h >> 15) * 2246822519u;
        h = (h ^ h >> 13) * 3266489917u;
        words[i] = 0x3e003e00u | (h & 0x80ff80ffu);
    }
}

// Tells the host where a stream is.
extern "C" __global__ void col_mark(uint32_t *at, uint32_t value) { *at = value; }

// The start is clamped so that the update lies inside the base; `step` elements of the base are one of `start`.
extern "C" __global__ void col_update_slice(cuda_copy w, void *base, const void *update, const int32_t *start, int64_t last,
                                            int64_t step)
{
    int64_t at = min(max((int64_t)*start, (int64_t)0), last);
    copy_any(w, (char *)base + at * step * w.element, update);
}

// Scatter: positions are listed by row of the table, each list is put in order, and a block adds the rows of its list.

extern "C" __global__ void col_scatter_count(const int32_t *ids, int64_t n, int64_t rows, int32_t *counts)
{
    int64_t i = thread_number();
    if (i < n && ids[i] >= 0 && ids[i] < rows) atomicAdd(&counts[ids[i]], 1);
}

// The sum of the warp's lanes up to and with this one (Hillis and Steele 1986).
__device__ int32_t warp_prefix(int32_t sum)
{
    int lane = threadIdx.x % 32;
    for (int step = 1; step < 32; step *= 2) {
        int32_t other = __shfl_up_sync(~0u, sum, step);
        sum += lane >= step ? other : 0;
    }
    return sum;
}

// One block of 32 warps: starts[r] = sum of counts before r; counts become cursors. Each warp has rows of its own.
extern "C" __global__ void col_scatter_starts(int32_t *counts, int32_t *starts, int64_t rows)
{
    __shared__ int32_t sums[32];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int64_t each = (rows + 1023) / 1024 * 32, begin = min(warp * each, rows), end = min(begin + each, rows);
    int32_t sum = 0;
#pragma unroll 8
    for (int64_t r = begin + lane; r < end; r += 32) sum += counts[r];
    sum = warp_prefix(sum);
    if (lane == 31) sums[warp] = sum;
    __syncthreads();
    if (warp == 0) sums[lane] = warp_prefix(sums[lane]);
    __syncthreads();
    if (threadIdx.x == 0) starts[rows] = sums[31];
    int32_t before = warp ? sums[warp - 1] : 0;
#pragma unroll 4
    for (int64_t r = begin; r < end; r += 32) {
        int32_t own = r + lane < end ? counts[r + lane] : 0, upto = warp_prefix(own);
        if (r + lane < end) starts[r + lane] = counts[r + lane] = before + upto - own;
        before += __shfl_sync(~0u, upto, 31);
    }
}

extern "C" __global__ void col_scatter_list(const int32_t *ids, int64_t n, int64_t rows, int32_t *cursors, int32_t *list)
{
    int64_t i = thread_number();
    if (i < n && ids[i] >= 0 && ids[i] < rows) list[atomicAdd(&cursors[ids[i]], 1)] = (int32_t)i;
}

template <typename T>
__device__ void scatter_rows(const int32_t *starts, const int32_t *list, int32_t *sorted, const T *updates, T *base,
                             int64_t columns, int64_t base_stride)
{
    int64_t row = blockIdx.x;
    int32_t begin = starts[row], end = starts[row + 1];
    if (begin == end) return;
    for (int32_t i = begin + threadIdx.x; i < end; i += blockDim.x) {
        int32_t own = list[i], rank = begin;
        for (int32_t j = begin; j < end; j++) rank += list[j] < own;
        sorted[rank] = own;
    }
    __syncthreads();
    for (int64_t c = threadIdx.x; c < columns; c += blockDim.x) {
        float sum = to_float(base[row * base_stride + c]);
        for (int32_t i = begin; i < end; i++) sum += to_float(updates[(int64_t)sorted[i] * columns + c]);
        base[row * base_stride + c] = from_float<T>(sum);
    }
}

template <typename I, typename N> __device__ inline void spatial(const I *dims, N i, N *at)
{
    for (int d = 2; d >= 0; d--) {
        at[d] = i % (N)dims[d];
        i /= (N)dims[d];
    }
}

__device__ inline int64_t place(const cuda_image &s, int64_t n, int64_t c, const int64_t *at)
{
    return n * s.n + c * s.c + at[0] * s.at[0] + at[1] * s.at[1] + at[2] * s.at[2];
}

// Convolutions of any strides, an element of the result a thread.

__device__ inline int64_t volume(const int64_t *dims) { return dims[0] * dims[1] * dims[2]; }

// Where output y and tap k read x; false outside of it.
__device__ inline bool tap(const cuda_convolution &p, const int64_t *y, const int64_t *k, int64_t *x)
{
    for (int d = 0; d < 3; d++) {
        x[d] = y[d] * p.stride[d] - p.low[d] + k[d] * p.dilation[d];
        if (x[d] < 0 || x[d] >= p.x[d]) return false;
    }
    return true;
}

template <typename T> __device__ void convolve(const cuda_convolution &p, T *y, const T *x, const T *w)
{
    int64_t i = thread_number(), each = volume(p.y), taps = volume(p.kernel), at[3], k[3], from[3];
    if (i >= p.count) return;
    int64_t n = i / each / p.o, o = i / each % p.o, channels = p.c / p.groups, first = o / (p.o / p.groups) * channels;
    float sum = 0;
    spatial(p.y, i % each, at);
    for (int64_t t = 0; t < taps; t++) {
        spatial(p.kernel, t, k);
        if (!tap(p, at, k, from)) continue;
        for (int64_t c = 0; c < channels; c++)
            sum += to_float(x[place(p.x_strides, n, first + c, from)]) * to_float(w[place(p.w_strides, o, c, k)]);
    }
    y[place(p.y_strides, n, o, at)] = from_float<T>(sum);
}

template <typename T> __device__ void convolve_input(const cuda_convolution &p, T *dx, const T *dy, const T *w)
{
    int64_t i = thread_number(), each = volume(p.x), taps = volume(p.kernel), at[3], k[3], y[3];
    if (i >= p.count) return;
    int64_t n = i / each / p.c, c = i / each % p.c, channels = p.c / p.groups, outputs = p.o / p.groups;
    int64_t first = c / channels * outputs;
    float sum = 0;
    spatial(p.x, i % each, at);
    for (int64_t t = 0; t < taps; t++) {
        bool holds = true;
        spatial(p.kernel, t, k);
        for (int d = 0; d < 3; d++) {
            int64_t from = at[d] + p.low[d] - k[d] * p.dilation[d];
            holds &= from >= 0 && from % p.stride[d] == 0 && from / p.stride[d] < p.y[d];
            y[d] = from / p.stride[d];
        }
        for (int64_t o = 0; holds && o < outputs; o++)
            sum += to_float(dy[place(p.y_strides, n, first + o, y)]) *
                   to_float(w[place(p.w_strides, first + o, c % channels, k)]);
    }
    dx[place(p.x_strides, n, c, at)] = from_float<T>(sum);
}

template <typename T> __device__ void convolve_weight(const cuda_convolution &p, T *dw, const T *x, const T *dy)
{
    int64_t i = thread_number(), each = volume(p.y), taps = volume(p.kernel), at[3], k[3], from[3];
    if (i >= p.count) return;
    int64_t channels = p.c / p.groups, o = i / taps / channels, c = o / (p.o / p.groups) * channels + i / taps % channels;
    float sum = 0;
    spatial(p.kernel, i % taps, k);
    for (int64_t n = 0; n < p.n; n++) {
        for (int64_t y = 0; y < each; y++) {
            spatial(p.y, y, at);
            if (tap(p, at, k, from))
                sum += to_float(x[place(p.x_strides, n, c, from)]) * to_float(dy[place(p.y_strides, n, o, at)]);
        }
    }
    dw[place(p.w_strides, o, i / taps % channels, k)] = from_float<T>(sum);
}

// Products of any strides, an element a thread.
template <typename T> __device__ void multiply(const cuda_product &p, void *c, const T *a, const T *b)
{
    int64_t i = thread_number(), at_a = 0, at_b = 0, at_c = 0;
    if (i >= p.count) return;
    int64_t column = i % p.columns, row = i / p.columns % p.rows, batch = i / p.columns / p.rows;
    for (int d = p.batch_rank - 1; d >= 0; d--) {
        int64_t at = batch % p.batch[d];
        batch /= p.batch[d];
        at_a += at * p.a[d];
        at_b += at * p.b[d];
        at_c += at * p.c[d];
    }
    at_a += row * p.a[p.batch_rank];
    at_b += column * p.b[p.batch_rank + 1];
    at_c += row * p.c[p.batch_rank] + column * p.c[p.batch_rank + 1];
    float sum = 0;
    for (int64_t k = 0; k < p.inner; k++)
        sum += to_float(a[at_a + k * p.a[p.batch_rank + 1]]) * to_float(b[at_b + k * p.b[p.batch_rank]]);
    if (p.accumulate) sum += p.wide ? ((float *)c)[at_c] : to_float(((T *)c)[at_c]);
    if (p.wide)
        ((float *)c)[at_c] = sum;
    else
        ((T *)c)[at_c] = from_float<T>(sum);
}

// tanh(sqrt(2/pi) (x + 0.044715 x^3)), the part of GELU that is dear.
__device__ float gelu_tanh_part(float x) { return tanhf(0.7978845608f * (x + 0.044715f * x * x * x)); }

template <typename T> __device__ void finish_product(const cuda_epilogue &e, T *c, const T *third, T *second)
{
    int64_t i = thread_number();
    if (i >= e.count) return;
    int64_t row = i / e.columns, column = i % e.columns, at = row * e.c[0] + column * e.c[1];
    float value = to_float(c[at]), with = to_float(third[row * e.third[0] + column * e.third[1]]);
    if (e.kind == CUDA_GELU_SLOPE) {
        float t = gelu_tanh_part(with), inner = 0.7978845608f * (1 + 3 * 0.044715f * with * with);
        c[at] = from_float<T>(value * 0.5f * (1 + t + with * (1 - t * t) * inner));
        return;
    }
    T sum = from_float<T>(value + with);
    if (e.kind == CUDA_BIAS) {
        c[at] = sum;
        return;
    }
    if (second) second[row * e.second[0] + column * e.second[1]] = sum;
    float x = to_float(sum);
    c[at] = from_float<T>(0.5f * x * (1 + gelu_tanh_part(x)));
}

// Sets `*flag` when a view holds a NaN or an infinity.
template <typename T> __device__ void look(const cuda_copy &w, const T *data, int32_t *flag)
{
    int64_t i = thread_number(), at = 0;
    if (i >= w.count) return;
    for (int d = w.rank - 1; d >= 0; d--) {
        at += i % w.dims[d] * w.from_strides[d];
        i /= w.dims[d];
    }
    if (!isfinite(to_float(data[at]))) *flag = 1;
}

#define BY_TYPE(suffix, T)                                                                                                   \
    extern "C" __global__ void col_scatter_add_##suffix(const int32_t *starts, const int32_t *list, int32_t *sorted,         \
                                                        const T *updates, T *base, int64_t columns, int64_t stride)          \
    {                                                                                                                        \
        scatter_rows<T>(starts, list, sorted, updates, base, columns, stride);                                               \
    }                                                                                                                        \
    extern "C" __global__ void col_convolution_forward_##suffix(cuda_convolution p, T *y, const T *x, const T *w)            \
    {                                                                                                                        \
        convolve<T>(p, y, x, w);                                                                                             \
    }                                                                                                                        \
    extern "C" __global__ void col_convolution_input_##suffix(cuda_convolution p, T *dx, const T *dy, const T *w)            \
    {                                                                                                                        \
        convolve_input<T>(p, dx, dy, w);                                                                                     \
    }                                                                                                                        \
    extern "C" __global__ void col_convolution_weight_##suffix(cuda_convolution p, T *dw, const T *x, const T *dy)           \
    {                                                                                                                        \
        convolve_weight<T>(p, dw, x, dy);                                                                                    \
    }                                                                                                                        \
    extern "C" __global__ void col_product_##suffix(cuda_product p, void *c, const T *a, const T *b)                         \
    {                                                                                                                        \
        multiply<T>(p, c, a, b);                                                                                             \
    }                                                                                                                        \
    extern "C" __global__ void col_epilogue_##suffix(cuda_epilogue e, T *c, const T *third, T *second)                       \
    {                                                                                                                        \
        finish_product<T>(e, c, third, second);                                                                              \
    }                                                                                                                        \
    extern "C" __global__ void col_look_##suffix(cuda_copy w, const T *data, int32_t *flag) { look<T>(w, data, flag); }
BY_TYPE(f32, float)
BY_TYPE(bf16, __nv_bfloat16)
BY_TYPE(f16, __half)

#include "runtime/cuda/pool.cuh"

#include "runtime/cuda/attention.cuh"
#include "runtime/cuda/attention_mma.cuh"
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#include "runtime/cuda/attention_wgmma.cuh"
#endif
