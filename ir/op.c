#include "ir/op.h"

#include <string.h>

/* `none` in a row of ops.def. */
#define col_grad_none     NULL
#define col_lower_none    NULL
#define col_eval_none     NULL
#define col_view_map_none NULL
#define col_relate_none   NULL
#define col_local_none    NULL
#define col_work_none     NULL

static const col_op_info ops[COL_OP_COUNT] = {
#define OP(KIND, name, cls, cost, low, high, count, required, optional, infer, gradient, lower, eval, view,  \
           factors, local, work)                                                                             \
    [COL_OP_##KIND] = {#name,                                                                                \
                       COL_CLASS_##cls,                                                                      \
                       cost,                                                                                 \
                       low,                                                                                  \
                       high,                                                                                 \
                       count,                                                                                \
                       required,                                                                             \
                       optional,                                                                             \
                       col_infer_##infer,                                                                    \
                       col_grad_##gradient,                                                                  \
                       col_lower_##lower,                                                                    \
                       col_eval_##eval,                                                                      \
                       col_view_map_##view,                                                                  \
                       col_relate_##factors,                                                                 \
                       col_local_##local,                                                                    \
                       col_work_##work},
#include "ir/ops.def"
#undef OP
};

static const struct {
    const char *name;
    col_attr_kind kind;
} attrs[COL_ATTR_COUNT] = {
#define ATTR(KEY, name, kind, fallback) [COL_ATTR_##KEY] = {#name, COL_KIND_##kind},
#include "ir/attrs.def"
#undef ATTR
};

const col_op_info *col_op_info_of(col_op op)
{
    COL_ASSERT(op < COL_OP_COUNT);
    return &ops[op];
}

col_op col_op_find(const char *name)
{
    for (int i = 0; i < COL_OP_COUNT; i++) {
        if (!strcmp(ops[i].name, name)) return (col_op)i;
    }
    return COL_OP_COUNT;
}

const char *col_attr_name(col_attr_key key)
{
    return attrs[key].name;
}

col_attr_kind col_attr_kind_of(col_attr_key key)
{
    return attrs[key].kind;
}

col_attr_key col_attr_find(const char *name)
{
    for (int i = 0; i < COL_ATTR_COUNT; i++) {
        if (!strcmp(attrs[i].name, name)) return (col_attr_key)i;
    }
    return COL_ATTR_COUNT;
}
