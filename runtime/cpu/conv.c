/* Convolutions and their gradients: oneDNN's primitives on pieces of the work.
 *
 * A piece is one image (forward, gradient of the input), or a slice of the output channels or of the groups
 * (gradient of the weight). Pieces depend on the shape alone, and each is computed by one thread: so the
 * number of threads never changes a result, which a library's own parallel sum over the batch would.
 *
 * oneDNN is fastest on tensors in blocks of channels. Each piece is brought into the form that its primitive
 * wants, in memory of its thread that stays in the cache, and its result brought back. What all pieces read
 * is brought into form once: the weight, or the input of a weight's gradient. A kernel of one tap with stride
 * 1 is a plain product, and needs no other form.
 *
 * That memory is the device's workspace: its size is known after preparing, and nothing is allocated in a
 * run. */
#include "runtime/cpu/cpu.h"

#include <dnnl.h>
#include <omp.h>
#include <string.h>

#if DNNL_VERSION_MAJOR != 2
#error "runtime/cpu/conv.c is written for the C API of oneDNN 2"
#endif

enum {
    X,
    WEIGHT,
    Y,
    TENSORS,
    MAX_SPATIAL = 3,     /* that oneDNN has */
    LEAST_CHANNELS = 16, /* of a slice: a block of oneDNN's */
    MOST_SLICES = 8,
    ALIGNMENT = 64,
};

/* Any call of oneDNN that fails does so for lack of memory or a shape that it lacks. */
#define TRY_DNNL(in, call)                                                                                   \
    do {                                                                                                     \
        dnnl_status_t status_ = (call);                                                                      \
        if (status_ != dnnl_success) return dnnl_fault(in, status_);                                         \
    } while (0)

static col_status dnnl_fault(const col_plan_instruction *in, dnnl_status_t status)
{
    bool memory = status == dnnl_out_of_memory;
    return col_error_make(memory ? COL_DEVICE : COL_BAD_INPUT, "'%s': oneDNN %s (status %d)", in->name,
                          memory ? "has no memory for this convolution" : "cannot compute this convolution",
                          (int)status);
}

/* One of x, weight and y, as the instruction has it and as the primitive wants it. */
typedef struct operand {
    int arg;      /* among the instruction's reads and writes */
    int number;   /* oneDNN's, of the execution argument */
    int64_t step; /* bytes from piece to piece, in the instruction's tensor; 0: every piece takes all */
    dnnl_primitive_t reorder;       /* NULL: the forms are the same */
    bool shared;                    /* brought into form once, before the pieces; has step 0 */
    int64_t parts;                  /* of a shared one, brought into form one by one, for several threads; */
    int64_t part_step, formed_step; /* bytes between them, before and after */
    size_t bytes;                   /* in the wanted form; 0 where the forms are the same */
    size_t offset; /* in the workspace: from its start where shared, else from the thread's part */
} operand;

/* Memory objects carry an address, so every thread has its own: what a reorder reads and writes, and what the
 * primitive does. */
typedef struct thread_objects {
    dnnl_memory_t plain[TENSORS], formed[TENSORS], used[TENSORS], scratch;
} thread_objects;

struct cpu_conv {
    cpu_conv *next;
    cpu_dnnl *dnnl;
    dnnl_primitive_t primitive;
    operand operands[TENSORS];
    int result; /* which of the three */
    int64_t pieces;
    int threads;
    thread_objects *objects;
    size_t shared_bytes, thread_bytes, scratch_offset;
};

struct cpu_dnnl {
    dnnl_engine_t engine;
    dnnl_stream_t *streams; /* one per thread */
    int threads;
    cpu_conv *convs;
    size_t workspace_bytes;
};

/* What the parts of preparing share. */
typedef struct setup {
    const col_plan_instruction *in;
    cpu_conv *conv;
    const col_plan_view *views[TENSORS];
    int rank; /* spatial axes */
    int64_t groups;
    dnnl_dims_t strides, dilations, low, high;
    dnnl_memory_desc_t plain[TENSORS], wanted[TENSORS]; /* of a piece; shared ones whole */
    const_dnnl_primitive_desc_t desc;
} setup;

col_status cpu_dnnl_open(col_arena *arena, int threads, cpu_dnnl **out_dnnl)
{
    cpu_dnnl *d = COL_NEW(arena, cpu_dnnl);
    d->threads = threads;
    d->streams = COL_NEW_ARRAY(arena, dnnl_stream_t, threads);
    *out_dnnl = d;
    bool fine = dnnl_engine_create(&d->engine, dnnl_cpu, 0) == dnnl_success;
    for (int i = 0; i < threads && fine; i++)
        fine = dnnl_stream_create(&d->streams[i], d->engine, dnnl_stream_default_flags) == dnnl_success;
    return fine ? NULL : col_error_make(COL_DEVICE, "oneDNN has no engine for this CPU");
}

static void destroy_conv(cpu_conv *c)
{
    for (int t = 0; t < c->threads; t++) {
        for (int i = 0; i < TENSORS; i++) {
            dnnl_memory_destroy(c->objects[t].plain[i]);
            dnnl_memory_destroy(c->objects[t].formed[i]);
            dnnl_memory_destroy(c->objects[t].used[i]);
        }
        dnnl_memory_destroy(c->objects[t].scratch);
    }
    for (int i = 0; i < TENSORS; i++) dnnl_primitive_destroy(c->operands[i].reorder);
    dnnl_primitive_destroy(c->primitive);
}

void cpu_dnnl_close(cpu_dnnl *dnnl)
{
    if (!dnnl) return;
    for (cpu_conv *c = dnnl->convs; c; c = c->next) destroy_conv(c);
    for (int i = 0; i < dnnl->threads; i++) dnnl_stream_destroy(dnnl->streams[i]);
    dnnl_engine_destroy(dnnl->engine);
}

size_t cpu_dnnl_workspace(const cpu_dnnl *dnnl)
{
    return dnnl->workspace_bytes;
}

/* --- shapes of pieces --- */

/* The largest number of equal slices of `count` that leaves each at least `least`. */
static int64_t slices_of(int64_t count, int64_t least)
{
    for (int64_t n = MOST_SLICES; n > 1; n--) {
        if (count % n == 0 && count / n >= least) return n;
    }
    return 1;
}

static bool is_product(const setup *s)
{
    for (int i = 0; i < s->rank; i++) {
        if (s->views[WEIGHT]->dims[2 + i] != 1 || s->strides[i] != 1 || s->low[i] || s->high[i]) return false;
    }
    return true;
}

/* The piece of an [n, c, ...] tensor with `images` images and `channels` channels, row-major inside the
 * whole. */
static void describe_activation(setup *s, int which, int64_t images, int64_t channels)
{
    const col_plan_view *view = s->views[which];
    dnnl_dims_t dims = {images, channels}, strides;
    int rank = s->rank + 2;
    for (int i = 2; i < rank; i++) dims[i] = view->dims[i];
    int64_t stride = 1;
    for (int i = rank; i-- > 0; stride *= view->dims[i]) strides[i] = stride;
    dnnl_memory_desc_init_by_strides(&s->plain[which], rank, dims, dnnl_f32, strides);
}

/* [outputs, inputs, ...], or [groups, outputs / groups, inputs, ...], row-major. */
static void describe_weight(setup *s, int64_t groups, int64_t outputs)
{
    const col_plan_view *view = s->views[WEIGHT];
    dnnl_dims_t dims, strides;
    int rank = 0;
    if (groups > 1) dims[rank++] = groups;
    dims[rank++] = outputs / groups;
    for (int i = 0; i <= s->rank; i++) dims[rank++] = view->dims[1 + i];
    int64_t stride = 1;
    for (int i = rank; i-- > 0; stride *= dims[i]) strides[i] = stride;
    dnnl_memory_desc_init_by_strides(&s->plain[WEIGHT], rank, dims, dnnl_f32, strides);
}

static int64_t elements_from(const col_plan_view *view, size_t axis)
{
    return col_plan_numel(view->n_dims - axis, view->dims + axis);
}

static void describe_pieces(setup *s)
{
    operand *o = s->conv->operands;
    const col_plan_view *x = s->views[X], *y = s->views[Y], *w = s->views[WEIGHT];
    int64_t element = sizeof(float);
    if (s->conv->result != WEIGHT) {
        s->conv->pieces = x->dims[0];
        describe_activation(s, X, 1, x->dims[1]);
        describe_activation(s, Y, 1, y->dims[1]);
        describe_weight(s, s->groups, w->dims[0]);
        o[X].step = elements_from(x, 1) * element;
        o[Y].step = elements_from(y, 1) * element;
        return;
    }
    bool grouped = s->groups > 1;
    int64_t n = grouped ? slices_of(s->groups, 1) : slices_of(w->dims[0], LEAST_CHANNELS);
    s->conv->pieces = n;
    describe_activation(s, X, x->dims[0], grouped ? x->dims[1] / n : x->dims[1]);
    describe_activation(s, Y, y->dims[0], y->dims[1] / n);
    describe_weight(s, grouped ? s->groups / n : 1, w->dims[0] / n);
    if (grouped) o[X].step = x->dims[1] / n * elements_from(x, 2) * element;
    o[Y].step = y->dims[1] / n * elements_from(y, 2) * element;
    o[WEIGHT].step = w->dims[0] / n * elements_from(w, 1) * element;
}

/* --- primitives --- */

static dnnl_status_t describe_primitive(setup *s, dnnl_primitive_attr_t attr, dnnl_primitive_desc_t *out_desc)
{
    dnnl_memory_desc_t any[TENSORS];
    dnnl_convolution_desc_t desc;
    dnnl_primitive_desc_t forward = NULL;
    dnnl_engine_t engine = s->conv->dnnl->engine;
    int result = s->conv->result;
    bool keeps_form = result != WEIGHT && is_product(s);
    memcpy(any, s->plain, sizeof any);
    for (int i = 0; i < TENSORS && !keeps_form; i++) {
        dnnl_status_t status = dnnl_memory_desc_init_by_tag(&any[i], s->plain[i].ndims, s->plain[i].dims,
                                                            dnnl_f32, dnnl_format_tag_any);
        if (status) return status;
    }
    dnnl_status_t status = dnnl_dilated_convolution_forward_desc_init(
        &desc, dnnl_forward_training, dnnl_convolution_direct, &any[X], &any[WEIGHT], NULL, &any[Y],
        s->strides, s->dilations, s->low, s->high);
    if (!status) status = dnnl_primitive_desc_create(&forward, &desc, attr, engine, NULL);
    if (status || result == Y) {
        *out_desc = forward;
        return status;
    }
    if (result == X) {
        status = dnnl_dilated_convolution_backward_data_desc_init(&desc, dnnl_convolution_direct, &any[X],
                                                                  &any[WEIGHT], &any[Y], s->strides,
                                                                  s->dilations, s->low, s->high);
    } else {
        status = dnnl_dilated_convolution_backward_weights_desc_init(&desc, dnnl_convolution_direct, &any[X],
                                                                     &any[WEIGHT], NULL, &any[Y], s->strides,
                                                                     s->dilations, s->low, s->high);
    }
    if (!status) status = dnnl_primitive_desc_create(out_desc, &desc, attr, engine, forward);
    dnnl_primitive_desc_destroy(forward);
    return status;
}

static void query_operands(setup *s)
{
    static const struct {
        dnnl_query_t query, gradient_query;
        int number, gradient_number;
    } roles[TENSORS] = {
        [X] = {dnnl_query_src_md, dnnl_query_diff_src_md, DNNL_ARG_SRC, DNNL_ARG_DIFF_SRC},
        [WEIGHT] = {dnnl_query_weights_md, dnnl_query_diff_weights_md, DNNL_ARG_WEIGHTS,
                    DNNL_ARG_DIFF_WEIGHTS},
        [Y] = {dnnl_query_dst_md, dnnl_query_diff_dst_md, DNNL_ARG_DST, DNNL_ARG_DIFF_DST},
    };
    for (int i = 0; i < TENSORS; i++) {
        bool gradient = i == Y ? s->conv->result != Y : s->conv->result == i;
        s->conv->operands[i].number = gradient ? roles[i].gradient_number : roles[i].number;
        s->wanted[i] =
            *dnnl_primitive_desc_query_md(s->desc, gradient ? roles[i].gradient_query : roles[i].query, 0);
    }
}

static dnnl_status_t make_reorder(cpu_conv *c, const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to,
                                  dnnl_primitive_attr_t attr, size_t *scratch, dnnl_primitive_t *out)
{
    dnnl_primitive_desc_t desc;
    dnnl_status_t status =
        dnnl_reorder_primitive_desc_create(&desc, from, c->dnnl->engine, to, c->dnnl->engine, attr);
    if (status) return status;
    const dnnl_memory_desc_t *needs = dnnl_primitive_desc_query_md(desc, dnnl_query_scratchpad_md, 0);
    *scratch = COL_MAX(*scratch, needs ? dnnl_memory_desc_get_size(needs) : 0);
    status = dnnl_primitive_create(out, desc);
    dnnl_primitive_desc_destroy(desc);
    return status;
}

/* A shared input goes into form image by image, where images are not interleaved. */
static dnnl_status_t cut_shared(setup *s, int which, dnnl_memory_desc_t *from, dnnl_memory_desc_t *to)
{
    operand *o = &s->conv->operands[which];
    *from = s->plain[which];
    *to = s->wanted[which];
    o->parts = 1;
    const dnnl_blocking_desc_t *blocks = &to->format_desc.blocking;
    bool whole = which != X || to->format_kind != dnnl_blocked || to->dims[0] == 1;
    for (int i = 0; !whole && i < blocks->inner_nblks; i++) whole = blocks->inner_idxs[i] == 0;
    for (int i = 1; !whole && i < to->ndims; i++) whole = blocks->strides[i] > blocks->strides[0];
    if (whole) return dnnl_success;
    dnnl_dims_t dims, offsets = {0};
    memcpy(dims, from->dims, sizeof dims);
    dims[0] = 1;
    o->parts = to->dims[0];
    o->part_step = from->format_desc.blocking.strides[0] * (int64_t)sizeof(float);
    o->formed_step = blocks->strides[0] * (int64_t)sizeof(float);
    dnnl_status_t status = dnnl_memory_desc_init_submemory(from, &s->plain[which], dims, offsets);
    return status ? status : dnnl_memory_desc_init_submemory(to, &s->wanted[which], dims, offsets);
}

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static col_status make_objects(setup *s, const dnnl_memory_desc_t *plain, const dnnl_memory_desc_t *formed,
                               size_t scratch)
{
    cpu_conv *c = s->conv;
    dnnl_engine_t engine = c->dnnl->engine;
    dnnl_dims_t size = {(int64_t)COL_MAX(scratch, (size_t)1)};
    dnnl_memory_desc_t bytes;
    TRY_DNNL(s->in, dnnl_memory_desc_init_by_tag(&bytes, 1, size, dnnl_u8, dnnl_a));
    for (int t = 0; t < c->threads; t++) {
        thread_objects *objects = &c->objects[t];
        for (int i = 0; i < TENSORS; i++) {
            TRY_DNNL(s->in, dnnl_memory_create(&objects->plain[i], &plain[i], engine, DNNL_MEMORY_NONE));
            TRY_DNNL(s->in, dnnl_memory_create(&objects->formed[i], &formed[i], engine, DNNL_MEMORY_NONE));
            TRY_DNNL(s->in, dnnl_memory_create(&objects->used[i], &s->wanted[i], engine, DNNL_MEMORY_NONE));
        }
        TRY_DNNL(s->in, dnnl_memory_create(&objects->scratch, &bytes, engine, DNNL_MEMORY_NONE));
    }
    return NULL;
}

/* Reorders and places in the workspace. */
static col_status prepare_operands(setup *s, dnnl_primitive_attr_t attr)
{
    cpu_conv *c = s->conv;
    dnnl_memory_desc_t plain[TENSORS], wanted[TENSORS]; /* of what one reorder moves */
    const dnnl_memory_desc_t *needs = dnnl_primitive_desc_query_md(s->desc, dnnl_query_scratchpad_md, 0);
    size_t scratch = needs ? dnnl_memory_desc_get_size(needs) : 0;
    for (int i = 0; i < TENSORS; i++) {
        operand *o = &c->operands[i];
        plain[i] = s->plain[i];
        wanted[i] = s->wanted[i];
        if (dnnl_memory_desc_equal(&s->plain[i], &s->wanted[i])) continue;
        o->bytes = dnnl_memory_desc_get_size(&s->wanted[i]);
        o->shared = !o->step && c->pieces > 1;
        if (o->shared) TRY_DNNL(s->in, cut_shared(s, i, &plain[i], &wanted[i]));
        bool back = i == c->result;
        TRY_DNNL(s->in, make_reorder(c, back ? &wanted[i] : &plain[i], back ? &plain[i] : &wanted[i], attr,
                                     &scratch, &o->reorder));
        size_t *total = o->shared ? &c->shared_bytes : &c->thread_bytes;
        o->offset = *total;
        *total += aligned(o->bytes);
    }
    c->scratch_offset = c->thread_bytes;
    c->thread_bytes += aligned(scratch);
    return make_objects(s, plain, wanted, scratch);
}

/* Everything of oneDNN that the convolution needs. Primitives use memory that they are given: then several
 * threads can run one, and none allocates. */
static col_status make_primitive(setup *s)
{
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_status_t status = dnnl_primitive_attr_create(&attr);
    if (!status) status = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    if (!status) status = describe_primitive(s, attr, &desc);
    if (!status) status = dnnl_primitive_create(&s->conv->primitive, desc);
    col_status result = status ? dnnl_fault(s->in, status) : NULL;
    if (!result) {
        s->desc = desc;
        query_operands(s);
        result = prepare_operands(s, attr);
    }
    dnnl_primitive_desc_destroy(desc);
    dnnl_primitive_attr_destroy(attr);
    return result;
}

col_status cpu_conv_prepare(cpu_dnnl *dnnl, col_arena *arena, const col_plan_instruction *in,
                            cpu_conv **out_conv)
{
    static const int result_of[] = {Y, X, WEIGHT}; /* by kind */
    const Col__Plan__Window *window = in->convolution->window;
    setup s = {.in = in, .rank = (int)in->reads[0]->n_dims - 2, .groups = in->convolution->groups};
    if (in->reads[0]->dtype != COL__PLAN__DTYPE__F32)
        return col_error_make(COL_BAD_INPUT, "'%s': convolutions on the CPU are fp32", in->name);
    if (s.rank > MAX_SPATIAL) {
        return col_error_make(COL_BAD_INPUT,
                              "'%s': convolutions on the CPU have at most %d spatial axes, not %d", in->name,
                              MAX_SPATIAL, s.rank);
    }
    for (int i = 0; i < s.rank; i++) {
        s.strides[i] = window->strides[i];
        s.dilations[i] = window->dilations[i] - 1; /* oneDNN counts what is left out */
        s.low[i] = window->low[i];
        s.high[i] = window->high[i];
    }
    cpu_conv *c = s.conv = COL_NEW(arena, cpu_conv);
    c->dnnl = dnnl;
    c->next = dnnl->convs;
    c->result = result_of[in->convolution->kind];
    for (int i = 0, arg = 0; i < TENSORS; i++) {
        c->operands[i].arg = i == c->result ? 2 : arg++;
        if (c->result == X && i != X) c->operands[i].arg = i == Y ? 0 : 1; /* dy stands before the weight */
        s.views[i] = i == c->result ? in->writes[0] : in->reads[c->operands[i].arg];
    }
    describe_pieces(&s);
    c->threads = (int)COL_MIN((int64_t)dnnl->threads, COL_MAX(c->pieces, s.views[X]->dims[0]));
    c->objects = COL_NEW_ARRAY(arena, thread_objects, c->threads);
    dnnl->convs = c;
    *out_conv = c;
    /* A primitive is made for the number of threads that oneDNN may use at the time. */
    int before = omp_get_max_threads();
    omp_set_num_threads(1);
    col_status status = make_primitive(&s);
    omp_set_num_threads(before);
    dnnl->workspace_bytes =
        COL_MAX(dnnl->workspace_bytes, c->shared_bytes + (size_t)c->threads * c->thread_bytes);
    return status;
}

/* --- running --- */

typedef struct conv_job {
    const cpu_conv *conv;
    unsigned char *workspace;
    void *const *args;
    int shared; /* the operand that run_part brings into form */
} conv_job;

static unsigned char *thread_memory(const conv_job *job, int thread)
{
    return job->workspace + job->conv->shared_bytes + (size_t)thread * job->conv->thread_bytes;
}

static void set_address(dnnl_memory_t memory, void *address)
{
    dnnl_status_t status = dnnl_memory_set_data_handle(memory, address);
    COL_ASSERT(status == dnnl_success);
}

static void execute(const conv_job *job, int thread, dnnl_primitive_t primitive, int count,
                    dnnl_exec_arg_t *args)
{
    const cpu_conv *c = job->conv;
    set_address(c->objects[thread].scratch, thread_memory(job, thread) + c->scratch_offset);
    args[count] = (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, c->objects[thread].scratch};
    dnnl_status_t status = dnnl_primitive_execute(primitive, c->dnnl->streams[thread], count + 1, args);
    COL_ASSERT(status == dnnl_success);
}

/* Between the instruction's tensor and its form, in either direction. */
static void reorder(const conv_job *job, int thread, int which, void *plain, void *formed)
{
    const thread_objects *objects = &job->conv->objects[thread];
    bool back = which == job->conv->result;
    set_address(objects->plain[which], plain);
    set_address(objects->formed[which], formed);
    dnnl_exec_arg_t args[3] = {{back ? DNNL_ARG_TO : DNNL_ARG_FROM, objects->plain[which]},
                               {back ? DNNL_ARG_FROM : DNNL_ARG_TO, objects->formed[which]}};
    execute(job, thread, job->conv->operands[which].reorder, 2, args);
}

static void run_part(void *context, int64_t i)
{
    const conv_job *job = context;
    const operand *o = &job->conv->operands[job->shared];
    reorder(job, omp_get_thread_num(), job->shared, (unsigned char *)job->args[o->arg] + i * o->part_step,
            job->workspace + o->offset + i * o->formed_step);
}

static void run_piece(void *context, int64_t i)
{
    const conv_job *job = context;
    const cpu_conv *c = job->conv;
    int thread = omp_get_thread_num();
    dnnl_exec_arg_t args[TENSORS + 1];
    unsigned char *plain[TENSORS], *used[TENSORS];
    for (int k = 0; k < TENSORS; k++) {
        const operand *o = &c->operands[k];
        plain[k] = (unsigned char *)job->args[o->arg] + i * o->step;
        used[k] = !o->reorder ? plain[k] : o->shared ? job->workspace : thread_memory(job, thread);
        if (o->reorder) used[k] += o->offset;
        if (o->reorder && !o->shared && k != c->result) reorder(job, thread, k, plain[k], used[k]);
        set_address(c->objects[thread].used[k], used[k]);
        args[k] = (dnnl_exec_arg_t){o->number, c->objects[thread].used[k]};
    }
    execute(job, thread, c->primitive, TENSORS, args);
    if (c->operands[c->result].reorder) reorder(job, thread, c->result, plain[c->result], used[c->result]);
}

void cpu_conv_run(const cpu_conv *conv, void *workspace, void *const *args)
{
    conv_job job = {conv, workspace, args, 0};
    for (job.shared = 0; job.shared < TENSORS; job.shared++) {
        const operand *o = &conv->operands[job.shared];
        if (o->shared) cpu_parallel_each(conv->threads, o->parts, run_part, &job);
    }
    cpu_parallel_each(conv->threads, conv->pieces, run_piece, &job);
}
