/* Text: input_ids and labels, i32[batch, seq], from a corpus of tokens (runtime/data/sampler.h). */
#include <stdlib.h>
#include <string.h>

#include "runtime/data/sampler.h"
#include "runtime/feed.h"
#include "runtime/tokens.h"

typedef struct text {
    col_tokenizer *tokenizer; /* NULL: the data needs none */
    col_corpus *corpus;
    col_sampler training, validation;
    int64_t batch, seq;
    int32_t *input_ids, *labels; /* [batch, seq] */
} text;

static col_status check_tokens(const col_plan *plan, const char *name, const col_plan_variable **out)
{
    *out = col_plan_find_variable(plan, name);
    if (!*out) {
        return col_error_make(COL_BAD_INPUT,
                              "the model has no input '%s': text is fed as input_ids and labels, images as "
                              "pixel_values and labels",
                              name);
    }
    if ((*out)->dtype == COL__PLAN__DTYPE__I32 && (*out)->n_dims == 2) return NULL;
    return col_error_make(COL_BAD_INPUT, "the input '%s' is not i32[batch, seq]", name);
}

static col_status check(const col_plan *plan)
{
    const col_plan_variable *ids, *labels;
    COL_TRY(check_tokens(plan, "input_ids", &ids));
    COL_TRY(check_tokens(plan, "labels", &labels));
    if (!memcmp(ids->dims, labels->dims, 2 * sizeof *ids->dims)) return NULL;
    return col_error_make(COL_BAD_INPUT, "the inputs 'input_ids' and 'labels' have different shapes");
}

/* Without a word from the user, a corpus too small for validation is trained on all the same. */
static col_status open_samplers(col_feed *feed, const col_train_settings *s, bool validates)
{
    text *t = feed->data;
    size_t seq = (size_t)t->seq;
    uint64_t seed = (uint64_t)s->seed;
    col_range training, validation;
    COL_TRY(col_corpus_split(t->corpus, s->val_fraction, &training, &validation));
    if (validates && validation.count > 0) {
        col_status status = col_sampler_init(&t->validation, "validation", t->corpus, validation, seq,
                                             COL_ORDER_SEQUENTIAL, seed);
        if (status && s->val_fraction_given) return status;
        if (col_error_ignore(status)) {
            col_feed_notice(feed, "the data is too short for validation: all of it is for training");
            t->validation.samples = 0;
            COL_TRY(col_corpus_split(t->corpus, 0, &training, &validation));
        }
    }
    return col_sampler_init(&t->training, "training", t->corpus, training, seq, COL_ORDER_SHUFFLED, seed);
}

/* The tokenizer's name: a path is made one that a resumed run finds from any folder. */
static const char *name_tokenizer(const char *given, col_arena *arena)
{
    if (!given) return COL_TOKENIZER_BYTES;
    char *path = strcmp(given, COL_TOKENIZER_BYTES) ? realpath(given, NULL) : NULL;
    const char *name = col_arena_strdup(arena, path ? path : given);
    free(path);
    return name;
}

static col_status open_text(col_feed *feed, const col_plan *plan, const col_train_settings *s, bool validates)
{
    const col_plan_variable *ids = col_plan_find_variable(plan, "input_ids");
    text *t = feed->data = COL_NEW(feed->arena, text);
    t->batch = ids->dims[0];
    t->seq = ids->dims[1];
    feed->batch = t->batch;
    feed->units = t->batch * t->seq;
    const char *given = s->tokenizer && strcmp(s->tokenizer, COL_TOKENIZER_NONE) ? s->tokenizer : NULL;
    feed->tokenizer = name_tokenizer(given, feed->arena);
    COL_TRY(col_tokens_open(feed->tokenizer, ids->index_bound, given != NULL, &t->tokenizer));
    if (!t->tokenizer) feed->tokenizer = COL_TOKENIZER_NONE;
    col_corpus_options options = {.tokenizer = t->tokenizer,
                                  .vocab_size = ids->index_bound,
                                  .seed = (uint64_t)s->seed,
                                  .context = feed,
                                  .notice = col_feed_notice};
    COL_TRY(col_corpus_open(s->data, s->data_count, &options, &t->corpus));
    t->input_ids = calloc((size_t)feed->units, sizeof *t->input_ids);
    t->labels = calloc((size_t)feed->units, sizeof *t->labels);
    if (!t->input_ids || !t->labels) col_out_of_memory((size_t)feed->units * sizeof *t->labels);
    COL_TRY(open_samplers(feed, s, validates));
    feed->validation_samples = t->validation.samples;
    feed->fingerprint = col_corpus_fingerprint(t->corpus);
    feed->shape = col_arena_printf(feed->arena, "%lld x %lld tokens", (long long)t->batch, (long long)t->seq);
    feed->summary = col_arena_printf(
        feed->arena, "%llu tokens, %llu to train on, %llu for validation; tokenizer %s",
        (unsigned long long)col_corpus_tokens(t->corpus), (unsigned long long)t->training.range.count,
        (unsigned long long)(t->validation.samples ? t->validation.range.count : 0), feed->tokenizer);
    return NULL;
}

static col_status write_text(col_feed *feed, col_session *session, bool validation, uint64_t first,
                             int64_t *out_labels)
{
    const text *t = feed->data;
    uint64_t bytes = (uint64_t)feed->units * sizeof(int32_t);
    col_sampler_read(validation ? &t->validation : &t->training, first, (size_t)t->batch, t->input_ids,
                     t->labels);
    *out_labels = 0;
    for (int64_t i = 0; i < feed->units; i++) *out_labels += t->labels[i] != COL_LABEL_IGNORED;
    COL_TRY(col_session_write(session, "input_ids", t->input_ids, bytes));
    return col_session_write(session, "labels", t->labels, bytes);
}

static void close_text(col_feed *feed)
{
    text *t = feed->data;
    free(t->input_ids);
    free(t->labels);
    col_corpus_close(t->corpus);
    col_tokenizer_destroy(t->tokenizer);
}

const col_feed_type col_feed_text = {.unit = "tokens",
                                     .input = "input_ids",
                                     .check = check,
                                     .open = open_text,
                                     .write = write_text,
                                     .close = close_text};
