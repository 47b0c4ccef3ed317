#include "runtime/init.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ir/base/map.h"
#include "ir/base/philox.h"

enum { CHUNK = 1 << 18 }; /* elements made at a time: a multiple of 4, small enough for the cache */

/* Two independent standard normal numbers from two words: Box and Muller, 1958. The first uniform is in (0,
 * 1]. */
static void box_muller(uint32_t first, uint32_t second, float out[2])
{
    float u = (float)((first >> 8) + 1) * 0x1p-24f, v = col_philox_uniform(second);
    float radius = sqrtf(-2 * logf(u)), angle = 6.28318530717958647693f * v;
    out[0] = radius * cosf(angle);
    out[1] = radius * sinf(angle);
}

/* Elements 4 * block .. 4 * block + 3. */
static void random_block(const col_plan_variable *v, int64_t seed, uint32_t salt, int64_t block, float out[4])
{
    col_philox_block words = col_philox_stream((uint64_t)seed, COL_PHILOX_INIT_STEP, salt, (uint64_t)block);
    if (v->init == COL__PLAN__INIT_KIND__NORMAL) {
        box_muller(words.words[0], words.words[1], out);
        box_muller(words.words[2], words.words[3], out + 2);
        for (int i = 0; i < 4; i++) out[i] = (float)v->init_a + (float)v->init_b * out[i];
    } else {
        float span = (float)(v->init_b - v->init_a);
        for (int i = 0; i < 4; i++) out[i] = (float)v->init_a + span * col_philox_uniform(words.words[i]);
    }
}

static void random_chunk(const col_plan_variable *v, int64_t seed, uint32_t salt, int64_t first,
                         int64_t count, float *out)
{
#pragma omp parallel for schedule(static)
    for (int64_t block = 0; block < (count + 3) / 4; block++) {
        float four[4];
        random_block(v, seed, salt, first / 4 + block, four);
        memcpy(out + 4 * block, four, sizeof(float) * (size_t)COL_MIN(count - 4 * block, 4));
    }
}

static col_status fill_with(col_ranks *ranks, const col_plan_variable *v, const void *pattern, void *chunk)
{
    uint64_t element = col_plan_dtype_size(v->dtype), bytes = col_plan_variable_bytes(v);
    for (uint64_t at = 0; at < COL_MIN(bytes, CHUNK * element); at += element) {
        memcpy((unsigned char *)chunk + at, pattern, element);
    }
    for (uint64_t at = 0; at < bytes; at += CHUNK * element) {
        COL_TRY(col_ranks_write(ranks, v, at, chunk, COL_MIN(bytes - at, CHUNK * element)));
    }
    return NULL;
}

static col_status fill_constant(col_ranks *ranks, const col_plan_variable *v, double value, void *chunk)
{
    float f32 = (float)value;
    int32_t i32 = (int32_t)value;
    int64_t i64 = (int64_t)value;
    switch (v->dtype) {
    case COL__PLAN__DTYPE__F32: return fill_with(ranks, v, &f32, chunk);
    case COL__PLAN__DTYPE__F64: return fill_with(ranks, v, &value, chunk);
    case COL__PLAN__DTYPE__I32: return fill_with(ranks, v, &i32, chunk);
    case COL__PLAN__DTYPE__I64: return fill_with(ranks, v, &i64, chunk);
    default:
        if (value == 0) return fill_with(ranks, v, &i64, chunk);
        return col_error_make(COL_BAD_INPUT, "'%s': only zeros can start a variable of type %s", v->name,
                              col_plan_dtype_name(v->dtype));
    }
}

static col_status fill_random(col_ranks *ranks, const col_plan_variable *v, int64_t seed, float *chunk)
{
    if (v->dtype != COL__PLAN__DTYPE__F32) {
        return col_error_make(COL_BAD_INPUT, "'%s': random starts are for f32, not %s", v->name,
                              col_plan_dtype_name(v->dtype));
    }
    uint32_t salt = (uint32_t)col_hash_bytes(v->name, strlen(v->name), 0),
             numel = col_plan_numel(v->n_dims, v->dims);
    for (int64_t at = 0; at < numel; at += CHUNK) {
        int64_t count = COL_MIN(numel - at, (int64_t)CHUNK);
        random_chunk(v, seed, salt, at, count, chunk);
        COL_TRY(
            col_ranks_write(ranks, v, (uint64_t)at * sizeof(float), chunk, (uint64_t)count * sizeof(float)));
    }
    return NULL;
}

col_status col_initialize(col_ranks *ranks, const col_plan_variable *v, int64_t seed)
{
    void *chunk = malloc(CHUNK * sizeof(double));
    if (!chunk) col_out_of_memory(0);
    col_status status;
    if (v->init == COL__PLAN__INIT_KIND__ZEROS)
        status = fill_constant(ranks, v, 0, chunk);
    else if (v->init == COL__PLAN__INIT_KIND__CONSTANT)
        status = fill_constant(ranks, v, v->init_a, chunk);
    else
        status = fill_random(ranks, v, seed, chunk);
    free(chunk);
    return status;
}
