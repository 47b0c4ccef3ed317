/* Images: pixel_values f32[batch, 3, height, width] and labels i32[batch] (runtime/data/images.h). While the
 * device computes, threads prepare the micro-batch that a training run takes next, and bring it to the device. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/data/images.h"
#include "runtime/data/sampler.h"
#include "runtime/feed.h"
#include "runtime/tokens.h"

enum { MOST_FILLERS = 8 }; /* threads that fill a micro-batch */

typedef struct micro_batch {
    bool is_validation;
    uint64_t first;      /* sample */
    int64_t count;       /* labels that count */
    float *pixel_values; /* [batch, pixels]; the session's, or `own` */
    float *own;          /* NULL: the session's */
    int32_t *labels;     /* [batch] */
} micro_batch;

typedef struct pictures {
    col_images *images;
    col_image_range training, validation;
    uint64_t seed;
    int64_t batch, pixels; /* numbers of one image */
    micro_batch now, next;
    pthread_t thread; /* fills `next` */
    bool is_filling, has_next;
    col_session *session; /* NULL: not yet known */
    col_status staging;   /* what came of bringing `next` to the device */
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

static uint64_t pixel_bytes(const pictures *p)
{
    return (uint64_t)(p->batch * p->pixels) * sizeof(float);
}

static void allocate(const pictures *p, micro_batch *m)
{
    m->pixel_values = col_session_host_memory(p->session, pixel_bytes(p));
    if (!m->pixel_values) m->pixel_values = m->own = calloc(1, pixel_bytes(p));
    m->labels = calloc((size_t)p->batch, sizeof *m->labels);
    if (!m->pixel_values || !m->labels) col_out_of_memory(pixel_bytes(p));
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

/* One of `fillers` threads; number `index` fills every fillers-th image. */
typedef struct filler {
    const pictures *p;
    micro_batch *m;
    int64_t index, fillers, count; /* count: its labels that count */
    pthread_t thread;
    bool runs;
} filler;

static void *fill_some(void *data)
{
    filler *f = data;
    const pictures *p = f->p;
    micro_batch *m = f->m;
    const col_image_range *range = m->is_validation ? &p->validation : &p->training;
    for (int64_t i = f->index; i < p->batch; i += f->fillers) {
        uint64_t at = m->first + (uint64_t)i;
        float *pixels = m->pixel_values + i * p->pixels;
        if (!m->is_validation) at = col_shuffle(at, range->count, p->seed);
        if (at < range->count) {
            col_images_read(p->images, range->first + at, pixels, &m->labels[i]);
            ++f->count;
        } else {
            memset(pixels, 0, (size_t)p->pixels * sizeof *pixels);
            m->labels[i] = COL_LABEL_IGNORED;
        }
    }
    return NULL;
}

/* With half of the processors, so that others are left for the device. What no thread can be had for, this one does. */
static void fill(const pictures *p, micro_batch *m)
{
    filler fillers[MOST_FILLERS];
    int64_t n = COL_MAX(COL_MIN(sysconf(_SC_NPROCESSORS_ONLN) / 2, (long)MOST_FILLERS), 1L);
    m->count = 0;
    for (int64_t i = n - 1; i >= 0; i--) {
        fillers[i] = (filler){.p = p, .m = m, .index = i, .fillers = n};
        fillers[i].runs = i > 0 && !pthread_create(&fillers[i].thread, NULL, fill_some, &fillers[i]);
        if (!fillers[i].runs) fill_some(&fillers[i]);
    }
    for (int64_t i = 0; i < n; i++) {
        if (fillers[i].runs) pthread_join(fillers[i].thread, NULL);
        m->count += fillers[i].count;
    }
}

static void *work(void *data)
{
    pictures *p = data;
    fill(p, &p->next);
    p->staging = col_session_stage(p->session, p->next.pixel_values, pixel_bytes(p));
    return NULL;
}

/* Where no thread can be had, the micro-batch is filled when it is needed. */
static void start_filling(pictures *p, uint64_t first)
{
    p->next.is_validation = p->has_next = false;
    p->next.first = first;
    p->is_filling = !pthread_create(&p->thread, NULL, work, p);
}

static col_status stop_filling(pictures *p)
{
    if (!p->is_filling) return NULL;
    pthread_join(p->thread, NULL);
    p->is_filling = false;
    p->has_next = true;
    return p->staging;
}

/* Makes `now` the micro-batch that is asked for. */
static void take(pictures *p, bool validation, uint64_t first)
{
    if (!validation && p->has_next && p->next.first == first) {
        micro_batch filled = p->next;
        p->next = p->now;
        p->now = filled;
        p->has_next = false;
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
    if (!p->session) {
        p->session = session;
        allocate(p, &p->now);
        allocate(p, &p->next);
    }
    COL_TRY(stop_filling(p));
    take(p, validation, first);
    *out_labels = p->now.count;
    COL_TRY(col_session_write(session, "pixel_values", p->now.pixel_values, pixel_bytes(p)));
    if (!validation) {
        COL_TRY(col_session_stage(session, NULL, 0));
        start_filling(p, first + (uint64_t)p->batch);
    }
    return col_session_write(session, "labels", p->now.labels, (uint64_t)p->batch * sizeof *p->now.labels);
}

static void release(micro_batch *m)
{
    free(m->own);
    free(m->labels);
}

static void close_images(col_feed *feed)
{
    pictures *p = feed->data;
    col_error_free(stop_filling(p));
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
