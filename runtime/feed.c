#include "runtime/feed.h"

#include <stdio.h>
#include <string.h>

void col_feed_notice(void *context, const char *message)
{
    const col_feed *feed = context;
    if (feed->speaks) fprintf(stderr, "notice: %s\n", message);
}

/* Inputs that the trainer sets, whatever the data, and those that the data gives. */
static bool is_fed(const col_feed_type *type, const char *name)
{
    static const char *const common[] = {
        "labels", "rng", "lr", "min_lr", "warmup_steps", "total_steps", COL_PLAN_COORDINATE};
    for (size_t i = 0; i < COL_COUNT(common); i++) {
        if (!strcmp(common[i], name)) return true;
    }
    for (size_t i = 0; type->also[i]; i++) {
        if (!strcmp(type->also[i], name)) return true;
    }
    return !strcmp(name, type->input);
}

col_status col_feed_type_of(const col_plan *plan, const col_feed_type **out_type)
{
    const col_feed_type *type = &col_feed_text;
    const col_plan_variable *rng = col_plan_find_variable(plan, "rng");
    if (col_plan_find_variable(plan, col_feed_images.input)) type = &col_feed_images;
    for (size_t i = 0; i < plan->n_variables; i++) {
        const col_plan_variable *v = plan->variables[i];
        if (v->kind != COL__PLAN__VARIABLE_KIND__INPUT || is_fed(type, v->name)) continue;
        return col_error_make(
            COL_BAD_INPUT,
            "the model has the input '%s', and training feeds %s and labels only: compute it "
            "from these, or declare it as a param or state",
            v->name, type->input);
    }
    if (rng && col_plan_variable_bytes(rng) != 2 * sizeof(int64_t))
        return col_error_make(COL_BAD_INPUT, "the input 'rng' is not i64[2]");
    *out_type = type;
    return type->check(plan);
}

col_status col_feed_open(const col_feed_type *type, const col_plan *plan, const col_train_settings *settings,
                         bool validates, bool speaks, col_feed **out_feed)
{
    col_arena *arena = col_arena_create();
    col_feed *feed = COL_NEW(arena, col_feed);
    *feed = (col_feed){.type = type, .speaks = speaks, .arena = arena};
    col_status status = type->open(feed, plan, settings, validates);
    if (status)
        col_feed_close(feed);
    else
        *out_feed = feed;
    return status;
}

void col_feed_close(col_feed *feed)
{
    if (!feed) return;
    if (feed->data) feed->type->close(feed);
    col_arena_destroy(feed->arena);
}
