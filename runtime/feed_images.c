/* Images: pixel_values f32[batch, 3, height, width] and labels i32[batch] (runtime/data/images.h). While the
 * device computes, a thread prepares the micro-batch that a training run takes next. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data/images.h"
#include "runtime/data/sampler.h"
#include "runtime/feed.h"
#include "runtime/tokens.h"

typedef struct micro_batch {
    bool is_validation;
    uint64_t first;      /* sample */
    int64_t count;       /* labels that count */
    float *pixel_values; /* [batch, pixels] */
    int32_t *labels;     /* [batch] */
} micro_batch;

typedef struct pictures {
    col_images *images;
    col_image_range training, validation;
    uint64_t seed;
    int64_t batch, pixels; /* numbers of one image */
    micro_batch now, next;
    pthread_t thread; /* fills `next` */
    bool is_filling;
} pictures;

static col_status check(const col_plan *plan)
{
    const col_plan_variable *x = col_plan_find_variable(plan, "pixel_values");
    const col_plan_variable *labels = col_plan_find_variable(plan, "labels");
    if (!labels)
        return col_error_make(COL_BAD_INPUT,
                              "the model has no input 'labels', which training on images needs");
    if (x->dtype != COL__PLAN__DTYPE__F32 || x->n_dims != 4 || x->dims[1] != COL_IMAGE_CHANNELS)
        return col_error_make(COL_BAD_INPUT, "the input 'pixel_values' is not f32[batch, 3, height, width]");
    if (labels->dtype != COL__PLAN__DTYPE__I32 || labels->n_dims != 1 || labels->dims[0] != x->dims[0])
        return col_error_make(COL_BAD_INPUT,
                              "the input 'labels' is not i32[batch] with the batch of 'pixel_values'");
    return NULL;
}

static void allocate(const pictures *p, micro_batch *m)
{
    m->pixel_values = calloc((size_t)(p->batch * p->pixels), sizeof *m->pixel_values);
    m->labels = calloc((size_t)p->batch, sizeof *m->labels);
    if (!m->pixel_values || !m->labels)
        col_out_of_memory((size_t)(p->batch * p->pixels) * sizeof *m->pixel_values);
}

static col_status open_images(col_feed *feed, const col_plan *plan, const col_train_settings *s,
                              bool validates)
{
    const col_plan_variable *x = col_plan_find_variable(plan, "pixel_values");
    const col_plan_variable *labels = col_plan_find_variable(plan, "labels");
    pictures *p = feed->data = COL_NEW(feed->arena, pictures);
    if (s->tokenizer && strcmp(s->tokenizer, COL_TOKENIZER_NONE))
        return col_error_make(COL_BAD_INPUT, "--tokenizer %s: the model takes images; leave it out",
                              s->tokenizer);
    col_images_options options = {
        .height = x->dims[2], .width = x->dims[3], .classes = labels->index_bound, .seed = (uint64_t)s->seed};
    COL_TRY(col_images_open(s->data, s->data_count, &options, &p->images));
    COL_TRY(col_images_split(p->images, validates ? s->val_fraction : 0, &p->training, &p->validation));
    p->seed = (uint64_t)s->seed;
    p->batch = feed->batch = feed->units = x->dims[0];
    p->pixels = COL_IMAGE_CHANNELS * x->dims[2] * x->dims[3];
    allocate(p, &p->now);
    allocate(p, &p->next);
    feed->tokenizer = COL_TOKENIZER_NONE;
    feed->validation_samples = p->validation.count;
    feed->fingerprint = col_images_fingerprint(p->images);
    feed->shape = col_arena_printf(feed->arena, "%lld images", (long long)p->batch);
    feed->summary = col_arena_printf(
        feed->arena, "%llu images of %d x %lld x %lld, %llu to train on, %llu for validation",
        (unsigned long long)col_images_count(p->images), COL_IMAGE_CHANNELS, (long long)x->dims[2],
        (long long)x->dims[3], (unsigned long long)p->training.count,
        (unsigned long long)p->validation.count);
    return NULL;
}

static void fill(const pictures *p, micro_batch *m)
{
    const col_image_range *range = m->is_validation ? &p->validation : &p->training;
    m->count = 0;
    for (int64_t i = 0; i < p->batch; i++) {
        uint64_t at = m->first + (uint64_t)i;
        float *pixels = m->pixel_values + i * p->pixels;
        if (!m->is_validation) at = col_shuffle(at, range->count, p->seed);
        if (at < range->count) {
            col_images_read(p->images, range->first + at, pixels, &m->labels[i]);
            ++m->count;
        } else {
            memset(pixels, 0, (size_t)p->pixels * sizeof *pixels);
            m->labels[i] = COL_LABEL_IGNORED;
        }
    }
}

static void *work(void *data)
{
    pictures *p = data;
    fill(p, &p->next);
    return NULL;
}

/* Where no thread can be had, the micro-batch is filled when it is needed. */
static void start_filling(pictures *p, uint64_t first)
{
    p->next.is_validation = false;
    p->next.first = first;
    p->is_filling = !pthread_create(&p->thread, NULL, work, p);
}

static void stop_filling(pictures *p)
{
    if (p->is_filling) pthread_join(p->thread, NULL);
    p->is_filling = false;
}

/* Makes `now` the micro-batch that is asked for. */
static void take(pictures *p, bool validation, uint64_t first)
{
    if (!validation && p->is_filling && p->next.first == first) {
        stop_filling(p);
        micro_batch filled = p->next;
        p->next = p->now;
        p->now = filled;
        return;
    }
    p->now.is_validation = validation;
    p->now.first = first;
    fill(p, &p->now);
}

static col_status write_images(col_feed *feed, col_session *session, bool validation, uint64_t first,
                               int64_t *out_labels)
{
    pictures *p = feed->data;
    take(p, validation, first);
    *out_labels = p->now.count;
    uint64_t bytes = (uint64_t)(p->batch * p->pixels) * sizeof(float);
    if (!validation) {
        stop_filling(p);
        start_filling(p, first + (uint64_t)p->batch);
    }
    COL_TRY(col_session_write(session, "pixel_values", p->now.pixel_values, bytes));
    return col_session_write(session, "labels", p->now.labels, (uint64_t)p->batch * sizeof *p->now.labels);
}

static void release(micro_batch *m)
{
    free(m->pixel_values);
    free(m->labels);
}

static void close_images(col_feed *feed)
{
    pictures *p = feed->data;
    stop_filling(p);
    release(&p->now);
    release(&p->next);
    col_images_close(p->images);
}

const col_feed_type col_feed_images = {.unit = "images",
                                       .input = "pixel_values",
                                       .check = check,
                                       .open = open_images,
                                       .write = write_images,
                                       .close = close_images};
