// Pools over up to three spatial axes, of any strides: the channels of 16 bytes at a position a thread where channels
// lie innermost and addresses allow, else one element.

// `LANES` channels side by side.
template <typename T, int LANES> struct alignas(sizeof(T) * LANES) channels {
    T lane[LANES];
};

// The thread's image, channel and position.
struct pool_point {
    int64_t n, c;
    int32_t at[3];
};

// Numbers below 2^32 are taken apart in 32 bits.
template <typename N> __device__ inline pool_point pool_decode(const cuda_pool &p, N i, const int32_t *size, int lanes)
{
    N at[3], each = (N)size[0] * (N)size[1] * (N)size[2], groups = (N)(p.c / lanes), n, c;
    if (p.last) {
        c = i % groups;
        i /= groups;
        spatial(size, i % each, at);
        n = i / each;
    } else {
        spatial(size, i % each, at);
        i /= each;
        c = i % groups;
        n = i / groups;
    }
    return {(int64_t)n, (int64_t)c * lanes, {(int32_t)at[0], (int32_t)at[1], (int32_t)at[2]}};
}

__device__ inline bool pool_find(const cuda_pool &p, const int32_t *size, int lanes, pool_point *out)
{
    int64_t i = thread_number(), count = p.n * (p.c / lanes) * size[0] * size[1] * size[2];
    if (i >= count) return false;
    *out = count < INT64_C(1) << 32 ? pool_decode<uint32_t>(p, (uint32_t)i, size, lanes) : pool_decode<uint64_t>(p, (uint64_t)i, size, lanes);
    return true;
}

// Offset of a position in an image of one channel, which 32 bits hold.
__device__ inline int32_t pool_place(const cuda_image &s, const int32_t *at)
{
    return at[0] * (int32_t)s.at[0] + at[1] * (int32_t)s.at[1] + at[2] * (int32_t)s.at[2];
}

// The first position of the window's output `y` on each axis.
__device__ inline void window_start(const cuda_pool &p, const int32_t *y, int32_t *start)
{
    for (int d = 0; d < 3; d++) start[d] = y[d] * p.stride[d] - p.low[d];
}

// Calls visit(position, number of the tap) for the taps inside the input; returns how many there are.
template <typename F> __device__ inline int32_t for_taps(const cuda_pool &p, const int32_t *start, F visit)
{
    int32_t inside = 0, at[3];
    for (int32_t a = 0; a < p.kernel[0]; a++) {
        at[0] = start[0] + a * p.dilation[0];
        if (at[0] < 0 || at[0] >= p.x_size[0]) continue;
        for (int32_t b = 0; b < p.kernel[1]; b++) {
            at[1] = start[1] + b * p.dilation[1];
            if (at[1] < 0 || at[1] >= p.x_size[1]) continue;
            for (int32_t c = 0; c < p.kernel[2]; c++) {
                at[2] = start[2] + c * p.dilation[2];
                if (at[2] < 0 || at[2] >= p.x_size[2]) continue;
                visit(at, (a * p.kernel[1] + b) * p.kernel[2] + c);
                inside++;
            }
        }
    }
    return inside;
}

// What an average is divided by: the taps inside the input, or with `padded` those inside the input with its padding.
__device__ inline float divisor(const cuda_pool &p, int32_t inside)
{
    return (float)(p.padded ? p.kernel[0] * p.kernel[1] * p.kernel[2] : inside);
}

template <typename T, int LANES> __device__ void pool_forward(const cuda_pool &p, T *y, const T *x)
{
    typedef channels<T, LANES> group;
    pool_point at;
    int32_t start[3];
    if (!pool_find(p, p.y_size, LANES, &at)) return;
    x += at.n * p.x.n + at.c * p.x.c;
    window_start(p, at.at, start);
    float best[LANES];
    for (int l = 0; l < LANES; l++) best[l] = p.is_max ? -INFINITY : 0;
    int32_t inside = for_taps(p, start, [&](const int32_t *tap, int32_t) {
        group g = *(const group *)(x + pool_place(p.x, tap));
        for (int l = 0; l < LANES; l++) {
            float v = to_float(g.lane[l]);
            if (!p.is_max)
                best[l] += v;
            else if (v > best[l] || isnan(v))
                best[l] = v;
        }
    });
    group out;
    for (int l = 0; l < LANES; l++) out.lane[l] = from_float<T>(p.is_max ? best[l] : best[l] / divisor(p, inside));
    *(group *)(y + at.n * p.y.n + at.c * p.y.c + pool_place(p.y, at.at)) = out;
}

// The number of the tap that a window's gradient goes to: the first of its largest elements; a NaN is larger than any
// number. Winners lie as [n, position, channel] or, where positions are innermost, as [n, channel, position].
template <typename T, int LANES, typename W> __device__ void pool_winners(const cuda_pool &p, W *winners, const T *x)
{
    typedef channels<T, LANES> group;
    pool_point at;
    int32_t start[3];
    if (!pool_find(p, p.y_size, LANES, &at)) return;
    x += at.n * p.x.n + at.c * p.x.c;
    window_start(p, at.at, start);
    float best[LANES];
    channels<W, LANES> where = {};
    bool first = true;
    for_taps(p, start, [&](const int32_t *tap, int32_t number) {
        group g = *(const group *)(x + pool_place(p.x, tap));
        for (int l = 0; l < LANES; l++) {
            float v = to_float(g.lane[l]);
            bool wins = first || v > best[l] || (isnan(v) && !isnan(best[l]));
            if (wins) best[l] = v;
            if (wins) where.lane[l] = (W)number;
        }
        first = false;
    });
    ((channels<W, LANES> *)winners)[thread_number()] = where;
}

// Where the winners of a window's channels are, in groups of lanes.
__device__ inline int64_t pool_winner_place(const cuda_pool &p, const pool_point &own, const int32_t *y, int lanes)
{
    int64_t each = (int64_t)p.y_size[0] * p.y_size[1] * p.y_size[2], groups = p.c / lanes;
    int64_t at = ((int64_t)y[0] * p.y_size[1] + y[1]) * p.y_size[2] + y[2], c = own.c / lanes;
    return p.last ? (own.n * each + at) * groups + c : (own.n * groups + c) * each + at;
}

// Gathers for an element of x from the windows that hold it.
template <typename T, int LANES, typename W> __device__ void pool_backward(const cuda_pool &p, T *dx, const W *winners, const T *dy)
{
    typedef channels<T, LANES> group;
    pool_point own;
    int32_t first[3], last[3], y[3];
    if (!pool_find(p, p.x_size, LANES, &own)) return;
    for (int d = 0; d < 3; d++) { // windows that may hold it: y stride - low <= at <= y stride - low + reach
        int32_t reach = (p.kernel[d] - 1) * p.dilation[d], from = own.at[d] + p.low[d] - reach;
        first[d] = from <= 0 ? 0 : (from + p.stride[d] - 1) / p.stride[d];
        last[d] = min((own.at[d] + p.low[d]) / p.stride[d], p.y_size[d] - 1);
    }
    float sum[LANES] = {};
    dy += own.n * p.y.n + own.c * p.y.c;
    for (y[0] = first[0]; y[0] <= last[0]; y[0]++) {
        for (y[1] = first[1]; y[1] <= last[1]; y[1]++) {
            for (y[2] = first[2]; y[2] <= last[2]; y[2]++) {
                int32_t start[3], number = 0;
                bool holds = true;
                window_start(p, y, start);
                for (int d = 0; d < 3; d++) {
                    int32_t step = own.at[d] - start[d], tap = p.dilation[d] == 1 ? step : step / p.dilation[d];
                    holds &= tap * p.dilation[d] == step;
                    number = number * p.kernel[d] + tap;
                }
                if (!holds) continue;
                group g = *(const group *)(dy + pool_place(p.y, y));
                if (p.is_max) {
                    auto where = ((const channels<W, LANES> *)winners)[pool_winner_place(p, own, y, LANES)];
                    for (int l = 0; l < LANES; l++) sum[l] += where.lane[l] == (W)number ? to_float(g.lane[l]) : 0.f;
                    continue;
                }
                int32_t inside = p.padded ? 0 : for_taps(p, start, [](const int32_t *, int32_t) {});
                for (int l = 0; l < LANES; l++) sum[l] += to_float(g.lane[l]) / divisor(p, inside);
            }
        }
    }
    group out;
    for (int l = 0; l < LANES; l++) out.lane[l] = from_float<T>(sum[l]);
    *(group *)(dx + own.n * p.dx.n + own.c * p.dx.c + pool_place(p.dx, own.at)) = out;
}

#define POOLS(suffix, T, WIDE)                                                                                               \
    extern "C" __global__ void col_pool_forward_##suffix(cuda_pool p, T *y, const T *x)                                      \
    {                                                                                                                        \
        if (p.wide)                                                                                                          \
            pool_forward<T, WIDE>(p, y, x);                                                                                  \
        else                                                                                                                 \
            pool_forward<T, 1>(p, y, x);                                                                                     \
    }                                                                                                                        \
    extern "C" __global__ void col_pool_winners_##suffix(cuda_pool p, void *winners, const T *x)                             \
    {                                                                                                                        \
        if (p.wide && p.few_taps)                                                                                            \
            pool_winners<T, WIDE>(p, (uint8_t *)winners, x);                                                                 \
        else if (p.wide)                                                                                                     \
            pool_winners<T, WIDE>(p, (uint32_t *)winners, x);                                                                \
        else if (p.few_taps)                                                                                                 \
            pool_winners<T, 1>(p, (uint8_t *)winners, x);                                                                    \
        else                                                                                                                 \
            pool_winners<T, 1>(p, (uint32_t *)winners, x);                                                                   \
    }                                                                                                                        \
    extern "C" __global__ void col_pool_backward_##suffix(cuda_pool p, T *dx, const void *winners, const T *dy)              \
    {                                                                                                                        \
        if (p.wide && p.few_taps)                                                                                            \
            pool_backward<T, WIDE>(p, dx, (const uint8_t *)winners, dy);                                                     \
        else if (p.wide)                                                                                                     \
            pool_backward<T, WIDE>(p, dx, (const uint32_t *)winners, dy);                                                    \
        else if (p.few_taps)                                                                                                 \
            pool_backward<T, 1>(p, dx, (const uint8_t *)winners, dy);                                                        \
        else                                                                                                                 \
            pool_backward<T, 1>(p, dx, (const uint32_t *)winners, dy);                                                       \
    }
POOLS(f32, float, 4)
POOLS(bf16, __nv_bfloat16, 8)
POOLS(f16, __half, 8)
