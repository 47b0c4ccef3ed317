#include "runtime/tensors.h"

#include <stdio.h>
#include <stdlib.h>

#include "runtime/store/checkpoint.h"
#include "runtime/store/weights.h"

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

static bool belongs(const col_plan_variable *v, col_tensors_part part)
{
    bool state = v->kind == COL__PLAN__VARIABLE_KIND__STATE;
    if (part == COL_TENSORS_STATES) return state && !v->buffer;
    return v->kind == COL__PLAN__VARIABLE_KIND__PARAM || (state && v->buffer);
}

/* Writes the variable, from a smaller type through memory of its own. */
static col_status write_variable(col_session *session, const col_plan_variable *v, const col_stored_tensor *t)
{
    uint64_t bytes = col_plan_variable_bytes(v);
    if (t->dtype == col_tensors_dtype(v->dtype))
        return col_session_write(session, v->name, t->data, t->bytes);
    float *widened = malloc(COL_MAX(bytes, 1));
    if (!widened) return col_error_make(COL_DEVICE, "no memory to convert '%s' to F32", t->name);
    col_weights_widen(t->dtype, t->data, bytes / sizeof *widened, widened);
    col_status status = col_session_write(session, v->name, widened, bytes);
    free(widened);
    return status;
}

static col_status load(col_session *session, col_tensors_part part, const col_safetensors *set,
                       col_tensors_match match, const char *path, col_arena *arena)
{
    const col_plan *plan = col_session_plan(session);
    col_wanted_tensor *wanted = COL_NEW_ARRAY(arena, col_wanted_tensor, plan->n_variables);
    const col_plan_variable **variables = COL_NEW_ARRAY(arena, const col_plan_variable *, plan->n_variables);
    const col_stored_tensor **found = COL_NEW_ARRAY(arena, const col_stored_tensor *, plan->n_variables);
    size_t count = 0;
    for (size_t i = 0; i < plan->n_variables; i++) {
        const col_plan_variable *v = plan->variables[i];
        if (!belongs(v, part)) continue;
        variables[count] = v;
        wanted[count++] =
            (col_wanted_tensor){v->name, col_tensors_dtype(v->dtype), (uint32_t)v->n_dims, v->dims};
    }
    col_weights_rule rule = {
        match == COL_TENSORS_FOREIGN,
        "Compile the model with the settings that they were made with (--set), or give the "
        "weights of this model"};
    COL_TRY(col_weights_match(set, path, wanted, count, rule, arena, found));
    for (size_t i = 0; i < count; i++)
        COL_TRY(col_error_annotate(write_variable(session, variables[i], found[i]), "'%s'", path));
    return NULL;
}

col_status col_tensors_load(col_session *session, col_tensors_part part, const col_safetensors *set,
                            col_tensors_match match, const char *path)
{
    col_arena *arena = col_arena_create();
    col_status status = load(session, part, set, match, path, arena);
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
