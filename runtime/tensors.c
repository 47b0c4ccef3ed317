#include "runtime/tensors.h"

#include <stdio.h>
#include <string.h>

#include "ir/base/map.h"
#include "ir/base/str.h"
#include "runtime/store/checkpoint.h"

col_store_dtype col_tensors_dtype(Col__Plan__Dtype dtype)
{
    switch (dtype) {
    case COL__PLAN__DTYPE__F32: return COL_STORE_F32;
    case COL__PLAN__DTYPE__F64: return COL_STORE_F64;
    case COL__PLAN__DTYPE__F16: return COL_STORE_F16;
    case COL__PLAN__DTYPE__BF16: return COL_STORE_BF16;
    case COL__PLAN__DTYPE__I32: return COL_STORE_I32;
    case COL__PLAN__DTYPE__I64: return COL_STORE_I64;
    case COL__PLAN__DTYPE__U8: return COL_STORE_U8;
    case COL__PLAN__DTYPE__BOOL: return COL_STORE_BOOL;
    case COL__PLAN__DTYPE__I8: return COL_STORE_I8;
    case COL__PLAN__DTYPE__I16: return COL_STORE_I16;
    case COL__PLAN__DTYPE__U16: return COL_STORE_U16;
    case COL__PLAN__DTYPE__U32: return COL_STORE_U32;
    case COL__PLAN__DTYPE__U64: return COL_STORE_U64;
    default: COL_PANIC("dtype %d passed the verifier", (int)dtype);
    }
}

/* Faults found while matching; a few of each kind are named, the rest counted. */
enum { NAMED_FAULTS = 5 };

typedef struct fault_list {
    col_str text;
    size_t count;
} fault_list;

typedef struct matcher {
    col_arena *arena;
    const col_safetensors *set;
    col_tensors_match match;
    col_map *used; /* names of tensors that a variable takes */
    fault_list missing, different, extra;
} matcher;

static void add_fault(fault_list *list, const char *text)
{
    if (list->count++ < NAMED_FAULTS) col_str_printf(&list->text, "%s%s", list->count > 1 ? ", " : "", text);
}

static const char *shape_text(col_arena *arena, const char *dtype, size_t rank, const int64_t *dims)
{
    const char *text = col_arena_printf(arena, "%s[", dtype);
    for (size_t i = 0; i < rank; i++)
        text = col_arena_printf(arena, "%s%s%lld", text, i ? ", " : "", (long long)dims[i]);
    return col_arena_printf(arena, "%s]", text);
}

static bool fits(const col_plan_variable *v, const col_stored_tensor *t)
{
    if (t->dtype != col_tensors_dtype(v->dtype) || t->rank != v->n_dims) return false;
    return v->n_dims == 0 || !memcmp(t->shape, v->dims, v->n_dims * sizeof *v->dims);
}

static const col_stored_tensor *match_variable(matcher *m, const col_plan_variable *v)
{
    static const char *const prefixes[] = {"transformer."};
    const col_stored_tensor *t = col_safetensors_find_prefixed(
        m->set, v->name, prefixes, m->match == COL_TENSORS_FOREIGN ? COL_COUNT(prefixes) : 0);
    const char *wanted =
        shape_text(m->arena, col_store_dtype_name(col_tensors_dtype(v->dtype)), v->n_dims, v->dims);
    if (!t) {
        add_fault(&m->missing, col_arena_printf(m->arena, "'%s' %s", v->name, wanted));
        return NULL;
    }
    col_map_set(m->used, t->name, (void *)(uintptr_t)t);
    if (fits(v, t)) return t;
    add_fault(&m->different,
              col_arena_printf(m->arena, "'%s' is %s and should be %s", v->name,
                               shape_text(m->arena, col_store_dtype_name(t->dtype), t->rank, t->shape),
                               wanted));
    return NULL;
}

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), tail = strlen(end);
    return size >= tail && !strcmp(text + size - tail, end);
}

/* Whether the tensor is no weight of its own: the masks that Hugging Face's GPT-2 keeps beside its weights,
 * the counts of PyTorch's batch norms, or a head that repeats the embeddings that it is tied to. */
static bool is_buffer(const matcher *m, const col_stored_tensor *t)
{
    if (m->match == COL_TENSORS_OURS) return false;
    if (ends_with(t->name, ".num_batches_tracked") || ends_with(t->name, ".attn.bias") ||
        ends_with(t->name, ".attn.masked_bias"))
        return true;
    if (!ends_with(t->name, "lm_head.weight")) return false;
    for (size_t i = 0; i < m->used->len; i++) {
        const col_stored_tensor *other = m->used->entries[i].value;
        if (other->bytes == t->bytes && other->dtype == t->dtype && !memcmp(other->data, t->data, t->bytes))
            return true;
    }
    return false;
}

static void find_extra(matcher *m)
{
    for (size_t i = 0; i < col_safetensors_count(m->set); i++) {
        const col_stored_tensor *t = col_safetensors_at(m->set, i);
        if (!col_map_get(m->used, t->name) && !is_buffer(m, t))
            add_fault(&m->extra, col_arena_printf(m->arena, "'%s'", t->name));
    }
}

static void print_faults(col_str *out, const fault_list *list, const char *what)
{
    if (!list->count) return;
    col_str_printf(out, "%s%zu %s: %s%s", out->len ? "; " : "", list->count, what, col_str_text(&list->text),
                   list->count > NAMED_FAULTS ? ", ..." : "");
}

static col_status faults_status(matcher *m, const char *path)
{
    col_str text = {0};
    print_faults(&text, &m->missing, "missing");
    print_faults(&text, &m->different, "of another shape or type");
    print_faults(&text, &m->extra, "that the model lacks");
    col_status status = NULL;
    if (text.len) {
        status =
            col_error_make(COL_BAD_INPUT,
                           "the tensors of '%s' are not those of the model: %s. Compile the model with the "
                           "settings that they were made with (--set), or give the weights of this model",
                           path, text.data);
    }
    col_str_fini(&text);
    col_str_fini(&m->missing.text);
    col_str_fini(&m->different.text);
    col_str_fini(&m->extra.text);
    return status;
}

static bool belongs(const col_plan_variable *v, col_tensors_part part)
{
    bool state = v->kind == COL__PLAN__VARIABLE_KIND__STATE;
    if (part == COL_TENSORS_STATES) return state && !v->buffer;
    return v->kind == COL__PLAN__VARIABLE_KIND__PARAM || (state && v->buffer);
}

static col_status load(matcher *m, col_session *session, col_tensors_part part, const char *path)
{
    const col_plan *plan = col_session_plan(session);
    const col_stored_tensor **sources = COL_NEW_ARRAY(m->arena, const col_stored_tensor *, plan->n_variables);
    for (size_t i = 0; i < plan->n_variables; i++) {
        if (belongs(plan->variables[i], part)) sources[i] = match_variable(m, plan->variables[i]);
    }
    find_extra(m);
    COL_TRY(faults_status(m, path));
    for (size_t i = 0; i < plan->n_variables; i++) {
        if (!sources[i]) continue;
        COL_TRY(col_error_annotate(
            col_session_write(session, plan->variables[i]->name, sources[i]->data, sources[i]->bytes), "'%s'",
            path));
    }
    return NULL;
}

col_status col_tensors_load(col_session *session, col_tensors_part part, const col_safetensors *set,
                            col_tensors_match match, const char *path)
{
    col_arena *arena = col_arena_create();
    matcher m = {.arena = arena, .set = set, .match = match, .used = col_map_create(arena)};
    col_status status = load(&m, session, part, path);
    col_arena_destroy(arena);
    return status;
}

col_status col_tensors_load_weights(col_session *session, const char *path)
{
    col_arena *arena = col_arena_create();
    col_safetensors *set = NULL;
    const char *notice = NULL;
    col_status status = col_weights_open(arena, path, &set, &notice);
    if (!status) {
        if (notice) fprintf(stderr, "notice: %s\n", notice);
        status = col_tensors_load(session, COL_TENSORS_WEIGHTS, set, COL_TENSORS_FOREIGN, path);
        col_safetensors_close(set);
    }
    col_arena_destroy(arena);
    return status;
}

/* A variable of a device that the host cannot read, a block at a time. */
enum { FETCH_BYTES = 1 << 20 };

typedef struct fetcher {
    col_session *session;
    const col_plan_variable *variable;
    unsigned char *block; /* shared by all: tensors are written one after another */
} fetcher;

static col_status fetch(void *user, uint64_t offset, size_t size, const void **out_bytes)
{
    fetcher *f = user;
    COL_ASSERT(size <= FETCH_BYTES);
    *out_bytes = f->block;
    return col_session_read_part(f->session, f->variable, offset, f->block, size);
}

const col_tensor_source *col_tensors_sources(col_session *session, col_tensors_part part, col_arena *arena,
                                             size_t *out_count)
{
    const col_plan *plan = col_session_plan(session);
    col_tensor_source *sources = COL_NEW_ARRAY(arena, col_tensor_source, plan->n_variables);
    unsigned char *block = NULL;
    size_t count = 0;
    for (size_t i = 0; i < plan->n_variables; i++) {
        const col_plan_variable *v = plan->variables[i];
        if (!belongs(v, part)) continue;
        col_tensor_source *s = &sources[count++];
        *s = (col_tensor_source){.name = v->name,
                                 .dtype = col_tensors_dtype(v->dtype),
                                 .rank = (uint32_t)v->n_dims,
                                 .shape = v->dims,
                                 .data = col_session_host(session, v)};
        if (s->data) continue;
        if (!block) block = col_arena_alloc(arena, FETCH_BYTES);
        fetcher *f = COL_NEW(arena, fetcher);
        *f = (fetcher){session, v, block};
        s->fetch = fetch;
        s->user = f;
    }
    *out_count = count;
    return sources;
}
