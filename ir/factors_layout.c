/* Strategies: the layouts and the work that follow from giving mesh axes to factors. */
#include "ir/factors_model.h"

col_strategy col_strategy_replicated(void)
{
    col_strategy s;
    for (int a = 0; a < COL_MESH_RANK; a++) {
        s.factor[a] = -1;
        s.order[a] = (uint8_t)a;
    }
    return s;
}

bool col_strategy_is_valid(const col_factors *f, const col_strategy *s, const col_mesh *mesh)
{
    uint32_t ordered = 0;
    for (int a = 0; a < COL_MESH_RANK; a++) {
        int factor = s->factor[a];
        int64_t parts = 1;
        if (s->order[a] >= COL_MESH_RANK) return false;
        ordered |= UINT32_C(1) << s->order[a];
        if (factor < 0) continue;
        if (a >= mesh->rank || factor >= f->factor_count) return false;
        for (int other = 0; other < mesh->rank; other++) {
            if (s->factor[other] == factor) parts *= mesh->dims[other];
        }
        if (f->size[factor] % parts) return false;
    }
    return ordered == (UINT32_C(1) << COL_MESH_RANK) - 1;
}

static col_layout layout_of(const col_factors *f, const col_strategy *s, const col_factor_tensor *t)
{
    col_layout layout = col_layout_whole();
    for (int d = 0; d < t->value->type.shape.rank; d++) {
        int factor = f->dims.data[t->first + (size_t)d].outermost;
        for (int i = 0; factor >= 0 && i < COL_MESH_RANK; i++) {
            if (s->factor[s->order[i]] == factor) col_layout_push(&layout, d, s->order[i]);
        }
    }
    return layout;
}

col_layout col_factors_operand_layout(const col_factors *f, const col_strategy *s, const col_node *node,
                                      uint32_t operand)
{
    COL_ASSERT(operand < node->operand_count);
    int at = f->slots[f->first_slot[col_factors_number(f, node)] + operand];
    return layout_of(f, s, &f->tensors.data[at]);
}

uint32_t col_factors_reduced_axes(const col_factors *f, const col_strategy *s, const col_value *result,
                                  col_op *out_kind)
{
    uint32_t axes = 0;
    *out_kind = COL_OP_SUM;
    for (int r = col_factors_tensor(f, result)->reduced; r >= 0; r = f->reduced.data[r].next) {
        int factor = f->pieces.data[col_pieces_outermost(f, f->reduced.data[r].piece)].factor;
        *out_kind = f->reduced.data[r].kind;
        for (int a = 0; factor >= 0 && a < COL_MESH_RANK; a++) {
            if (s->factor[a] == factor) axes |= UINT32_C(1) << a;
        }
    }
    return axes;
}

col_layout col_factors_result_layout(const col_factors *f, const col_strategy *s, const col_value *result)
{
    col_layout layout = layout_of(f, s, col_factors_tensor(f, result));
    col_op kind;
    uint32_t axes = col_factors_reduced_axes(f, s, result, &kind);
    if (kind == COL_OP_SUM) layout.partial = (uint8_t)axes;
    return layout;
}

static bool is_lookup(const col_factors *f, size_t node, size_t dim)
{
    for (size_t i = 0; i < f->lookups.len; i++) {
        if (f->lookups.data[i].node == (int)node && f->lookups.data[i].dim == dim) return true;
    }
    return false;
}

double col_factors_share(const col_factors *f, const col_strategy *s, const col_mesh *mesh,
                         const col_node *node)
{
    size_t n = col_factors_number(f, node);
    uint32_t axes = 0;
    for (size_t i = f->first_slot[n]; i < f->first_slot[n + 1]; i++) {
        const col_factor_tensor *t = &f->tensors.data[f->slots[i]];
        for (int d = 0; d < t->value->type.shape.rank; d++) {
            int factor = f->dims.data[t->first + (size_t)d].outermost;
            if (factor < 0 || is_lookup(f, n, t->first + (size_t)d)) continue;
            for (int a = 0; a < mesh->rank; a++) {
                if (s->factor[a] == factor) axes |= UINT32_C(1) << a;
            }
        }
    }
    double share = 1;
    for (int a = 0; a < mesh->rank; a++) {
        if (axes >> a & 1) share /= (double)mesh->dims[a];
    }
    return share;
}
