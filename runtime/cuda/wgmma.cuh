// Products of a warpgroup (wgmma.mma_async, PTX ISA 8.0, compute capability 9.0 alone) of bf16 or f16 tiles in shared memory, as
// attention needs them: 64 rows by 64 columns at a time.
//
// A tile has rows of D elements in panels of 64 columns: a panel's row is 128 bytes, and its 16-byte pieces are exchanged
// by the row's number modulo 8 ("128-byte swizzle"), so that eight rows of one column lie in different banks. Tiles start
// at multiples of 1024 bytes. The matrix of the accumulators lies in registers as with mma.m16n8k16: a warp has 16 rows.
#pragma once

namespace hopper {

using tensor::address;

enum { ELEMENT = 2, ROWS = 64, PANEL = 64, PANEL_ROW = 128, GROUP = 1024 }; // rows of a tile that are multiplied; bytes of 8 rows

template <int D> __host__ __device__ constexpr int tile_bytes(int rows) { return rows * D * ELEMENT; }

// Rows [first, first + COUNT) of a head on their way to shared memory, zeros beyond `rows` and d.
template <int D, int COUNT, int THREADS, typename T>
__device__ inline void fetch_tile(unsigned char *to, const T *head, int64_t stride, int64_t first, int64_t rows, int d)
{
    constexpr int PIECES = D / 8;
    static_assert(COUNT * PIECES % THREADS == 0, "all threads fetch equally many");
#pragma unroll
    for (int e = 0; e < COUNT * PIECES / THREADS; e++) {
        int i = threadIdx.x + e * THREADS, row = i / PIECES, piece = i % PIECES;
        bool inside = first + row < rows && piece * 8 < d;
        int at = piece / 8 * (COUNT * PANEL_ROW) + row * PANEL_ROW + ((piece % 8) ^ (row % 8)) * 16;
        tensor::fetch(to + at, inside ? head + (first + row) * stride + piece * 8 : head, inside);
    }
}

// What cp.async wrote becomes visible to the products, once the threads have met.
__device__ inline void show() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

__device__ inline uint64_t describe(uint32_t at, uint32_t panels_apart)
{
    return (uint64_t)((at & 0x3ffff) >> 4) | (uint64_t)(panels_apart >> 4) << 16 | (uint64_t)(GROUP >> 4) << 32 | (uint64_t)1 << 62;
}

// Columns [16 c, 16 c + 16) of 64 rows from `row` on, as the left operand or as the right one's transpose.
__device__ inline uint64_t describe_columns(const unsigned char *tile, int rows, int row, int c)
{
    return describe(address(tile) + c / 4 * (rows * PANEL_ROW) + row * PANEL_ROW + c % 4 * 32, 16);
}

// Rows [16 r, 16 r + 16) of one panel, as the right operand.
__device__ inline uint64_t describe_rows(const unsigned char *tile, int rows, int panel, int r)
{
    return describe(address(tile) + panel * (rows * PANEL_ROW) + r * 16 * PANEL_ROW, rows * PANEL_ROW);
}

#define HOPPER_FOUR(i) "+f"(c[i][0]), "+f"(c[i][1]), "+f"(c[i][2]), "+f"(c[i][3])
#define HOPPER_ALL HOPPER_FOUR(0), HOPPER_FOUR(1), HOPPER_FOUR(2), HOPPER_FOUR(3), HOPPER_FOUR(4), HOPPER_FOUR(5), HOPPER_FOUR(6), HOPPER_FOUR(7)
#define HOPPER_NAMES                                                                                                         \
    "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}"

// c = a b' (+ c where `add`), both tiles in shared memory, 16 columns of them.
template <typename T> __device__ inline void multiply(float (*c)[4], uint64_t a, uint64_t b, int add);
// c += a b, `a` being 16 columns of a matrix in registers and b 16 rows of a tile.
template <typename T> __device__ inline void multiply_held(float (*c)[4], const uint32_t *a, uint64_t b);

#define HOPPER_MULTIPLY(T, name)                                                                                             \
    template <> __device__ inline void multiply<T>(float (*c)[4], uint64_t a, uint64_t b, int add)                           \
    {                                                                                                                        \
        asm volatile("{.reg .pred p; setp.ne.b32 p, %34, 0;\n"                                                               \
                     "wgmma.mma_async.sync.aligned.m64n64k16.f32." name "." name " " HOPPER_NAMES                            \
                     ", %32, %33, p, 1, 1, 0, 0;}"                                                                           \
                     : HOPPER_ALL                                                                                            \
                     : "l"(a), "l"(b), "r"(add));                                                                            \
    }                                                                                                                        \
    template <> __device__ inline void multiply_held<T>(float (*c)[4], const uint32_t *a, uint64_t b)                        \
    {                                                                                                                        \
        asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32." name "." name " " HOPPER_NAMES                            \
                     ", {%32,%33,%34,%35}, %36, 1, 1, 1, 1;"                                                                 \
                     : HOPPER_ALL                                                                                            \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));                                                  \
    }
HOPPER_MULTIPLY(__nv_bfloat16, "bf16")
HOPPER_MULTIPLY(__half, "f16")

__device__ inline void open() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int LEFT> __device__ inline void wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(LEFT) : "memory"); }

// Keeps the compiler from moving what uses c to before the wait.
__device__ inline void hold(float (*c)[4])
{
#pragma unroll
    for (int i = 0; i < 8; i++) asm volatile("" : "+f"(c[i][0]), "+f"(c[i][1]), "+f"(c[i][2]), "+f"(c[i][3])::"memory");
}

// scores = rows [row, row + 64) of `left` times the 64 rows of `right`.
template <typename T, int D, int LEFT_ROWS>
__device__ inline void multiply_tiles(float (*c)[4], const unsigned char *left, int row, const unsigned char *right)
{
#pragma unroll
    for (int k = 0; k < D / 16; k++) multiply<T>(c, describe_columns(left, LEFT_ROWS, row, k), describe_columns(right, ROWS, 0, k), k > 0);
}

// The left operand of multiply_weights, from accumulators.
template <typename T> __device__ inline void pack_weights(uint32_t (*to)[4], const float (*c)[4])
{
#pragma unroll
    for (int k = 0; k < 4; k++) {
        to[k][0] = tensor::pack<T>(c[2 * k][0], c[2 * k][1]);
        to[k][1] = tensor::pack<T>(c[2 * k][2], c[2 * k][3]);
        to[k][2] = tensor::pack<T>(c[2 * k + 1][0], c[2 * k + 1][1]);
        to[k][3] = tensor::pack<T>(c[2 * k + 1][2], c[2 * k + 1][3]);
    }
}

// c [D] += weights [64] tile.
template <typename T, int D> __device__ inline void multiply_weights(float (*c)[4], const uint32_t (*weights)[4], const unsigned char *tile)
{
#pragma unroll
    for (int k = 0; k < 4; k++) {
#pragma unroll
        for (int panel = 0; panel < D / PANEL; panel++) multiply_held<T>(c + panel * 8, weights[k], describe_rows(tile, ROWS, panel, k));
    }
}

} // namespace hopper
