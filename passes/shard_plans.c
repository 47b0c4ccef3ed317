/* Forced plans: what each takes away from the model, so that the same solver, partition and report serve all.
 *
 * Dimensions of values have roles, which flow from the inputs through the factors of units: the first
 * dimension of every input is the batch, the second of integer inputs the sequence. A mesh axis has a duty in
 * a plan:
 *
 *     data      forward and backward units split it over the batch wherever they can
 *     model     ... over anything but batch and sequence
 *     sequence  ... over anything but the batch
 *     either    ... over anything
 *
 *     plan    duties                       inputs      parameters                state     gradients
 *     single  none                         whole       whole                     whole     any
 *     ddp     data                         S(all) R    whole                     whole     whole
 *     zero1   data                         S(all) R    whole                     all       whole
 *     zero2   data                         S(all) R    whole                     all       all
 *     zero3   data                         S(all) R    all                       all       all
 *     tp1d    model                        whole       matrices: all             any       any
 *     tp2d    axis 0 either, axis 1 model  S0 R        matrices: both            any       any
 *     tp2.5d  axis 0 data, then as tp2d    S01 R       matrices: the last two    any       any
 *     tp3d    either                       S0 R        matrices: all three       any       any
 *     sp      last sequence, others data   S(others)   matrices: the last        any       any
 *                                          S(last)
 *
 * A value is split over as many of the axes named as its shape allows; what none divides stays whole. DDP: Li
 * et al. 2020; ZeRO: Rajbhandari et al. 2020; tp1d: Shoeybi et al. 2019; sp: Korthikanti et al. 2022; tp2d:
 * Xu et al. 2021 (SUMMA); tp2.5d: Wang et al. 2021; tp3d: Bian et al. 2021. */
#include "passes/shard_model.h"

#include <string.h>

static const char *const names[COL_PLAN_COUNT] = {"auto", "single", "ddp",    "zero1", "zero2", "zero3",
                                                  "tp1d", "tp2d",   "tp2.5d", "tp3d",  "sp"};

const char *col_plan_kind_name(col_plan_kind kind)
{
    return names[kind];
}

bool col_plan_kind_parse(const char *text, col_plan_kind *out_kind)
{
    for (int i = 0; i < COL_PLAN_COUNT; i++) {
        if (strcmp(names[i], text)) continue;
        *out_kind = (col_plan_kind)i;
        return true;
    }
    return false;
}

typedef enum duty { DUTY_NONE, DUTY_DATA, DUTY_MODEL, DUTY_SEQUENCE, DUTY_EITHER } duty;

typedef enum split_rule {
    ANY,      /* whatever the solver likes */
    WHOLE,    /* not split */
    ALL_AXES, /* over every axis that the shape allows */
} split_rule;

typedef struct plan_rules {
    duty duties[COL_MESH_RANK];
    uint32_t input_axes[2]; /* masks: of the first and second dimension */
    split_rule parameters, states, gradients;
    uint32_t matrix_axes; /* over which a parameter of two and more dimensions must be split if it can be */
    int least_rank, most_rank;
} plan_rules;

static plan_rules rules_of(col_plan_kind kind, int rank)
{
    plan_rules r = {.least_rank = 1, .most_rank = COL_MESH_RANK};
    uint32_t all = (UINT32_C(1) << rank) - 1, last = UINT32_C(1) << (rank - 1);
    for (int a = 0; a < rank; a++) r.duties[a] = DUTY_EITHER;
    switch (kind) {
    case COL_PLAN_AUTO: break;
    case COL_PLAN_SINGLE:
        for (int a = 0; a < rank; a++) r.duties[a] = DUTY_NONE;
        r.parameters = r.states = WHOLE;
        break;
    case COL_PLAN_DDP:
    case COL_PLAN_ZERO1:
    case COL_PLAN_ZERO2:
    case COL_PLAN_ZERO3:
        for (int a = 0; a < rank; a++) r.duties[a] = DUTY_DATA;
        r.input_axes[0] = all;
        r.parameters = kind == COL_PLAN_ZERO3 ? ALL_AXES : WHOLE;
        r.states = kind == COL_PLAN_DDP ? WHOLE : ALL_AXES;
        r.gradients = kind >= COL_PLAN_ZERO2 ? ALL_AXES : WHOLE;
        break;
    case COL_PLAN_TP1D:
        for (int a = 0; a < rank; a++) r.duties[a] = DUTY_MODEL;
        r.matrix_axes = all;
        break;
    case COL_PLAN_TP2D:
        r.duties[rank - 1] = DUTY_MODEL;
        r.input_axes[0] = 1;
        r.matrix_axes = all;
        r.least_rank = r.most_rank = 2;
        break;
    case COL_PLAN_TP25D:
        r.duties[0] = DUTY_DATA;
        r.duties[rank - 1] = DUTY_MODEL;
        r.input_axes[0] = 3;
        r.matrix_axes = all & ~UINT32_C(1);
        r.least_rank = r.most_rank = 3;
        break;
    case COL_PLAN_TP3D:
        r.input_axes[0] = 1;
        r.matrix_axes = all;
        r.least_rank = r.most_rank = 3;
        break;
    case COL_PLAN_SP:
        for (int a = 0; a < rank - 1; a++) r.duties[a] = DUTY_DATA;
        r.duties[rank - 1] = DUTY_SEQUENCE;
        r.input_axes[0] = all & ~last;
        r.input_axes[1] = last;
        r.matrix_axes = last;
        break;
    case COL_PLAN_COUNT: break;
    }
    return r;
}

/* Roles. */

enum { ROLE_NONE, ROLE_BATCH, ROLE_SEQUENCE };

static uint8_t *role_of(const shard_model *m, const col_value *value, int dim)
{
    return &m->roles[(size_t)value->id * COL_MAX_RANK + (size_t)dim];
}

static bool is_batched(const col_var *var)
{
    return var->kind == COL_VAR_INPUT && var->type.shape.rank >= 1 && strcmp(var->name, "rng");
}

static void spread_roles(shard_model *m, const shard_unit *u, uint8_t *factor_roles)
{
    for (int i = 0; i < u->read_count; i++) {
        const col_value *value = u->reads[i].value;
        for (int d = 0; d < value->type.shape.rank; d++) {
            int f = col_factors_of_dim(u->factors, value, d);
            uint8_t role = *role_of(m, value, d);
            if (f >= 0 && role && !factor_roles[f]) factor_roles[f] = role;
        }
    }
    for (int i = 0; i < u->write_count; i++) {
        const col_value *value = u->writes[i].value;
        for (int d = 0; d < value->type.shape.rank; d++) {
            int f = col_factors_of_dim(u->factors, value, d);
            if (f >= 0) *role_of(m, value, d) = factor_roles[f];
        }
    }
}

/* Units. */

static bool allows(duty d, uint8_t role)
{
    switch (d) {
    case DUTY_NONE: return false;
    case DUTY_DATA: return role == ROLE_BATCH;
    case DUTY_MODEL: return role == ROLE_NONE;
    case DUTY_SEQUENCE: return role != ROLE_BATCH;
    case DUTY_EITHER: break;
    }
    return true;
}

static void keep(shard_unit *u, const bool *kept)
{
    int n = 0;
    for (int k = 0; k < u->count; k++) {
        if (!kept[k]) continue;
        u->strategies[n] = u->strategies[k];
        u->cost[n] = u->cost[k];
        u->inner[n] = u->inner[k];
        for (int i = 0; i < u->read_count; i++) u->reads[i].layouts[n] = u->reads[i].layouts[k];
        for (int i = 0; i < u->write_count; i++) u->writes[i].layouts[n] = u->writes[i].layouts[k];
        n++;
    }
    u->count = n;
}

/* Of what the duties allow, the strategies that split over the most of the data axes: replication where they
 * can split over none. */
static void restrict_unit(shard_model *m, shard_unit *u, const plan_rules *r, const uint8_t *factor_roles)
{
    bool *kept = COL_NEW_ARRAY(m->arena, bool, u->count + 1);
    int *data_axes = COL_NEW_ARRAY(m->arena, int, u->count + 1), most = 0;
    for (int k = 0; k < u->count; k++) {
        kept[k] = true;
        for (int a = 0; a < m->options->mesh.rank; a++) {
            int f = u->strategies[k].factor[a];
            if (f >= 0 && !allows(r->duties[a], factor_roles[f])) kept[k] = false;
            data_axes[k] += f >= 0 && r->duties[a] == DUTY_DATA;
        }
        if (kept[k]) most = COL_MAX(most, data_axes[k]);
    }
    for (int k = 0; k < u->count; k++) kept[k] &= data_axes[k] == most;
    keep(u, kept);
}

/* Variables. */

static uint32_t mask_of(const col_axes *axes)
{
    uint32_t mask = 0;
    for (int i = 0; i < axes->count; i++) mask |= UINT32_C(1) << axes->axis[i];
    return mask;
}

static const col_layout *layout_at(const shard_model *m, int32_t id)
{
    return &m->layouts.list.data[id];
}

static int count_axes(const shard_model *m, int32_t layout, uint32_t among)
{
    return __builtin_popcount(col_layout_axes(layout_at(m, layout)) & among);
}

/* Keeps the layouts that split the variable over the most of the axes `among`. */
static void keep_most_split(shard_model *m, size_t v, uint32_t among)
{
    int most = 0, n = 0;
    for (int k = 0; k < m->variable_counts[v]; k++)
        most = COL_MAX(most, count_axes(m, m->variable_layouts[v][k], among));
    for (int k = 0; k < m->variable_counts[v]; k++) {
        int32_t id = m->variable_layouts[v][k];
        if (count_axes(m, id, among) == most) m->variable_layouts[v][n++] = id;
    }
    m->variable_counts[v] = n;
}

static void keep_whole(shard_model *m, size_t v)
{
    col_layout whole = col_layout_whole();
    m->variable_layouts[v][0] = shard_layout_id(&m->layouts, &whole);
    m->variable_counts[v] = 1;
}

static col_status restrict_input(shard_model *m, size_t v, const plan_rules *r)
{
    const col_var *var = m->graph->vars.data[v];
    int n = 0;
    for (int k = 0; k < m->variable_counts[v]; k++) {
        const col_layout *layout = layout_at(m, m->variable_layouts[v][k]);
        uint32_t second = var->type.shape.rank > 1 ? r->input_axes[1] : 0;
        bool fits = mask_of(&layout->split[0]) == r->input_axes[0] && mask_of(&layout->split[1]) == second;
        if (fits && col_layout_axes(layout) == (r->input_axes[0] | second))
            m->variable_layouts[v][n++] = m->variable_layouts[v][k];
    }
    if (!n) {
        col_str type = {0}, mesh = {0};
        col_type_print(var->type, &type);
        col_mesh_print(&m->options->mesh, &mesh);
        col_status status = col_error_make(
            COL_BAD_INPUT,
            "plan %s cannot split input '%s' : %s over mesh %s; choose a batch%s that the mesh divides",
            names[m->options->plan], var->name, col_str_text(&type), col_str_text(&mesh),
            var->type.shape.rank > 1 && r->input_axes[1] ? " and a sequence" : "");
        col_str_fini(&type);
        col_str_fini(&mesh);
        return status;
    }
    m->variable_counts[v] = n;
    return NULL;
}

static col_status restrict_variables(shard_model *m, const plan_rules *r)
{
    uint32_t all = (UINT32_C(1) << m->options->mesh.rank) - 1, split_matrices = 0, matrices = 0;
    for (size_t v = 0; v < m->graph->vars.len; v++) {
        const col_var *var = m->graph->vars.data[v];
        if (is_batched(var)) {
            COL_TRY(restrict_input(m, v, r));
            continue;
        }
        split_rule rule = var->kind == COL_VAR_PARAM ? r->parameters : r->states;
        if (rule == WHOLE) keep_whole(m, v);
        if (rule == ALL_AXES) keep_most_split(m, v, all);
        if (r->matrix_axes && var->kind == COL_VAR_PARAM && var->type.shape.rank >= 2) {
            keep_most_split(m, v, r->matrix_axes);
            matrices++;
            split_matrices += count_axes(m, m->variable_layouts[v][0], r->matrix_axes) > 0;
        }
    }
    if (matrices && !split_matrices) {
        return col_error_make(COL_BAD_INPUT, "plan %s splits matrices, and the mesh divides none of them",
                              names[m->options->plan]);
    }
    return NULL;
}

int shard_restrict_gradient(const shard_model *m, const col_value *value, int count, int32_t *layouts)
{
    plan_rules r = rules_of(m->options->plan, m->options->mesh.rank);
    if (r.gradients == ANY || !value->type.shape.rank) return count;
    int least = 0, most = 0, n = 0; /* axes that it may be split over */
    for (int k = 0; k < count && r.gradients == ALL_AXES; k++) {
        if (!layout_at(m, layouts[k])->partial) most = COL_MAX(most, count_axes(m, layouts[k], UINT32_MAX));
        least = most;
    }
    for (int k = 0; k < count; k++) {
        int axes = count_axes(m, layouts[k], UINT32_MAX);
        if (!layout_at(m, layouts[k])->partial && axes >= least && axes <= most) layouts[n++] = layouts[k];
    }
    return n;
}

col_status shard_restrict(shard_model *m)
{
    if (m->options->plan == COL_PLAN_AUTO) return NULL;
    plan_rules r = rules_of(m->options->plan, m->options->mesh.rank);
    for (int a = 0; a < m->options->mesh.rank; a++) {
        if (m->options->mesh.dims[a] > 1) continue;
        for (int d = 0; d < 2; d++) r.input_axes[d] &= ~(UINT32_C(1) << a); /* there is nothing to split */
    }
    if (m->options->mesh.rank < r.least_rank || m->options->mesh.rank > r.most_rank) {
        return col_error_make(COL_BAD_INPUT, "plan %s needs a mesh of %d axes, as --mesh %s",
                              names[m->options->plan], r.least_rank, r.least_rank == 3 ? "2x2x2" : "2x2");
    }
    m->roles = COL_NEW_ARRAY(m->arena, uint8_t, (size_t)m->graph->next_value_id * COL_MAX_RANK);
    for (size_t v = 0; v < m->graph->vars.len; v++) {
        const col_var *var = m->graph->vars.data[v];
        if (!is_batched(var)) continue;
        *role_of(m, var->value, 0) = ROLE_BATCH;
        if (var->type.shape.rank == 2 && col_dtype_is_integer(var->type.dtype))
            *role_of(m, var->value, 1) = ROLE_SEQUENCE;
    }
    for (uint32_t i = 0; i < m->units->count; i++) {
        shard_unit *u = &m->by_unit[i];
        if (u->is_assign) continue;
        uint8_t *factor_roles = COL_NEW_ARRAY(m->arena, uint8_t, col_factors_count(u->factors) + 1);
        spread_roles(m, u, factor_roles);
        if (u->phase != COL_PHASE_UPDATE || m->options->plan == COL_PLAN_SINGLE)
            restrict_unit(m, u, &r, factor_roles);
    }
    return restrict_variables(m, &r);
}
