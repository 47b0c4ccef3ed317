/* Text: input_ids and labels, i32[batch, seq], from a corpus of tokens (runtime/data/sampler.h).
 *
 * Labels are the next tokens, or for masked language models the tokens that were masked
 * (runtime/data/masking.h). A model is one if its attention sees what comes later, unless --mask-rate says
 * otherwise. attention_mask, where the model has it, is 1 at tokens and 0 after the data's end, and
 * token_type_ids are 0. */
#include <stdlib.h>
#include <string.h>

#include "runtime/data/masking.h"
#include "runtime/data/sampler.h"
#include "runtime/feed.h"
#include "runtime/tokens.h"

typedef struct text {
    col_tokenizer *tokenizer; /* NULL: the data needs none */
    col_corpus *corpus;
    col_sampler training, validation;
    int64_t batch, seq;
    col_masking masking;             /* rate 0: the next token is the label */
    bool has_mask, has_types;        /* the model has these inputs */
    int32_t *input_ids, *labels;     /* [batch, seq] */
    int32_t *attention_mask, *types; /* the same */
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
    return col_error_make(COL_BAD_INPUT,
                          "the input '%s' is not i32[batch, seq], a token each: text has no labels for whole "
                          "sequences; train a model that predicts tokens",
                          name);
}

static col_status check(const col_plan *plan)
{
    static const char *const names[] = {"labels", "attention_mask", "token_type_ids"};
    const col_plan_variable *ids, *other;
    COL_TRY(check_tokens(plan, "input_ids", &ids));
    for (size_t i = 0; i < COL_COUNT(names); i++) {
        if (i && !col_plan_find_variable(plan, names[i])) continue;
        COL_TRY(check_tokens(plan, names[i], &other));
        if (memcmp(ids->dims, other->dims, 2 * sizeof *ids->dims))
            return col_error_make(COL_BAD_INPUT, "the inputs 'input_ids' and '%s' have different shapes",
                                  names[i]);
    }
    return NULL;
}

/* Whether the step has attention, and all of it sees what comes later. */
static bool sees_later(const col_plan *plan)
{
    const Col__Plan__Program *step = col_plan_find_program(plan, "step");
    bool found = false;
    for (size_t i = 0; step && i < step->n_instructions; i++) {
        const col_plan_instruction *in = step->instructions[i];
        if (in->kind_case != COL__PLAN__INSTRUCTION__KIND_ATTENTION) continue;
        if (in->attention->causal) return false;
        found = true;
    }
    return found;
}

/* The id of a mask token in the vocabulary; else the first id that no token has. */
static int32_t find_mask_token(const col_tokenizer *tokenizer)
{
    static const char *const names[] = {"[MASK]", "<mask>"};
    int32_t size = col_tokenizer_size(tokenizer);
    for (size_t k = 0; k < COL_COUNT(names); k++) {
        for (int32_t id = 0; id < size; id++) {
            size_t length;
            const unsigned char *token = col_tokenizer_token(tokenizer, id, &length);
            if (token && length == strlen(names[k]) && !memcmp(token, names[k], length)) return id;
        }
    }
    return size;
}

/* `bound`: rows of the model's table. */
static col_status open_masking(text *t, const col_plan *plan, const col_train_settings *s, int64_t bound)
{
    double rate = s->mask_rate >= 0 ? s->mask_rate : sees_later(plan) ? COL_MASK_RATE : 0;
    int64_t token = s->mask_token, vocab = t->tokenizer ? col_tokenizer_size(t->tokenizer) : bound;
    bool synthetic = s->data_count == 1 && !strcmp(s->data[0], COL_CORPUS_SYNTHETIC);
    if (rate == 0) return NULL;
    if (token < 0 && t->tokenizer)
        token = find_mask_token(t->tokenizer);
    else if (token < 0 && synthetic)
        token = bound - 1;
    if (token < 0)
        return col_error_make(COL_BAD_INPUT,
                              "which token masks others is not known without a tokenizer: give "
                              "it with --mask-token, as 103 for BERT's own vocabulary");
    if (!bound || token >= bound)
        return col_error_make(COL_BAD_INPUT,
                              "the mask token %lld is not one of the %lld rows of the model's table: compile "
                              "the model with --set vocab=%lld, or give another token with --mask-token",
                              (long long)token, (long long)bound, (long long)token + 1);
    t->masking = (col_masking){.rate = rate,
                               .mask = (int32_t)token,
                               .vocab = (int32_t)vocab,
                               .untouched = t->tokenizer ? col_tokenizer_end_of_text(t->tokenizer) : -1,
                               .seed = (uint64_t)s->seed};
    return NULL;
}

static int32_t *alloc_ids(int64_t count)
{
    int32_t *ids = calloc((size_t)count, sizeof *ids);
    if (!ids) col_out_of_memory((size_t)count * sizeof *ids);
    return ids;
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
    t->input_ids = alloc_ids(feed->units);
    t->labels = alloc_ids(feed->units);
    t->attention_mask = alloc_ids(feed->units);
    t->types = alloc_ids(feed->units);
    t->has_mask = col_plan_find_variable(plan, "attention_mask") != NULL;
    t->has_types = col_plan_find_variable(plan, "token_type_ids") != NULL;
    COL_TRY(open_masking(t, plan, s, ids->index_bound));
    COL_TRY(open_samplers(feed, s, validates));
    feed->validation_samples = t->validation.samples;
    feed->fingerprint = col_corpus_fingerprint(t->corpus);
    feed->shape = col_arena_printf(feed->arena, "%lld x %lld tokens", (long long)t->batch, (long long)t->seq);
    feed->summary = col_arena_printf(
        feed->arena, "%llu tokens, %llu to train on, %llu for validation; tokenizer %s",
        (unsigned long long)col_corpus_tokens(t->corpus), (unsigned long long)t->training.range.count,
        (unsigned long long)(t->validation.samples ? t->validation.range.count : 0), feed->tokenizer);
    if (t->masking.rate > 0)
        feed->summary = col_arena_printf(feed->arena, "%s; %g %% masked, with token %d", feed->summary,
                                         100 * t->masking.rate, t->masking.mask);
    return NULL;
}

static col_status write_text(col_feed *feed, col_session *session, bool validation, uint64_t first,
                             int64_t *out_labels)
{
    const text *t = feed->data;
    uint64_t bytes = (uint64_t)feed->units * sizeof(int32_t);
    size_t seq = (size_t)t->seq;
    col_sampler_read(validation ? &t->validation : &t->training, first, (size_t)t->batch, t->input_ids,
                     t->labels);
    for (int64_t i = 0; i < feed->units; i++) t->attention_mask[i] = t->labels[i] != COL_LABEL_IGNORED;
    for (size_t row = 0; t->masking.rate > 0 && row < (size_t)t->batch; row++) {
        size_t at = row * seq, count = 0;
        while (count < seq && t->attention_mask[at + count]) count++;
        col_mask_tokens(&t->masking, validation, first + row, count, t->input_ids + at, t->labels + at);
    }
    *out_labels = 0;
    for (int64_t i = 0; i < feed->units; i++) *out_labels += t->labels[i] != COL_LABEL_IGNORED;
    COL_TRY(col_session_write(session, "input_ids", t->input_ids, bytes));
    if (t->has_mask) COL_TRY(col_session_write(session, "attention_mask", t->attention_mask, bytes));
    if (t->has_types) COL_TRY(col_session_write(session, "token_type_ids", t->types, bytes));
    return col_session_write(session, "labels", t->labels, bytes);
}

static void close_text(col_feed *feed)
{
    text *t = feed->data;
    free(t->input_ids);
    free(t->labels);
    free(t->attention_mask);
    free(t->types);
    col_corpus_close(t->corpus);
    col_tokenizer_destroy(t->tokenizer);
}

const col_feed_type col_feed_text = {.unit = "tokens",
                                     .input = "input_ids",
                                     .also = {"attention_mask", "token_type_ids"},
                                     .check = check,
                                     .open = open_text,
                                     .write = write_text,
                                     .close = close_text};
