/* `colrun generate`: continues a text, one token at a time, through the plan's two programs.
 *
 * The programs share the states cache.N.k and cache.N.v, which hold the keys and values of positions
 * [0, context). `prefill` writes those of a chunk of tokens from `position` on; `decode` does it for one
 * token and gives the logits of the next. The prompt but its last token goes through prefill. A chunk that
 * the prompt does not fill is padded at its end: what the padding leaves in the cache lies beyond every
 * position that is looked at, until decode overwrites it with the real token. A chunk that would reach beyond
 * the context is moved back to end there; the positions that it repeats get the same values again. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/base/file.h"
#include "runtime/bandwidth.h"
#include "runtime/command.h"
#include "runtime/sample.h"
#include "runtime/session.h"
#include "runtime/tensors.h"
#include "runtime/text/utf8.h"
#include "runtime/tokens.h"

typedef struct settings {
    const char *weights, *tokenizer;
    int64_t max_tokens;
    col_session_options session;
    bool echo, stats;
    col_sample_options sample;
} settings;

typedef struct generator {
    settings settings;
    col_arena *arena;
    col_session *session;
    const col_plan *plan;
    col_tokenizer *tokenizer;
    int64_t context, chunk, vocab;
    float *logits;
    col_candidate *candidates;
    col_utf8_stream text;
    col_str pending; /* characters that are ready to print */
    int32_t *prompt;
    size_t prompt_count;
    double decode_seconds;
    int64_t decodes;
} generator;

static col_status read_settings(const col_options *o, settings *s)
{
    int64_t seed = 0;
    bool chosen =
        col_options_has(o, "temperature") || col_options_has(o, "top-k") || col_options_has(o, "top-p");
    *s = (settings){.max_tokens = 64};
    if (!chosen) s->sample = (col_sample_options){.temperature = 0.8, .top_k = 40};
    COL_TRY(col_options_int(o, "max-tokens", 0, INT32_MAX, &s->max_tokens));
    COL_TRY(col_options_double(o, "temperature", 0, 1e6, &s->sample.temperature));
    COL_TRY(col_options_int(o, "top-k", 0, INT32_MAX, &s->sample.top_k));
    COL_TRY(col_options_double(o, "top-p", 0, 1, &s->sample.top_p));
    COL_TRY(col_options_int(o, "seed", 0, INT64_MAX, &seed));
    COL_TRY(col_session_options_read(o, &s->session));
    s->sample.seed = (uint64_t)seed;
    s->weights = col_options_get(o, "weights");
    s->tokenizer = col_options_get(o, "tokenizer");
    s->echo = !col_options_has(o, "no-echo");
    s->stats = col_options_has(o, "stats");
    if (s->weights) return NULL;
    return col_error_make(COL_BAD_INPUT,
                          "--weights is missing: give a checkpoint folder or a Hugging Face folder");
}

static col_status read_prompt(const col_options *o, col_arena *arena, const char **out_text, size_t *out_size)
{
    const char *text = col_options_get(o, "prompt"), *file = col_options_get(o, "prompt-file");
    if (!text == !file)
        return col_error_make(COL_BAD_INPUT, "give either --prompt TEXT or --prompt-file FILE");
    char *data = NULL;
    if (file) {
        COL_TRY(col_file_read(arena, file, 1 << 30, &data, out_size));
        *out_text = data;
    } else {
        *out_text = text;
        *out_size = strlen(text);
    }
    return NULL;
}

static col_status check_input(const generator *g, const char *name, int64_t *out_length)
{
    const col_plan_variable *v = col_plan_find_variable(g->plan, name);
    if (!v || v->dtype != COL__PLAN__DTYPE__I32 || v->n_dims != 2 || v->dims[0] != 1)
        return col_error_make(COL_BAD_INPUT, "the plan has no input '%s' of type i32[1, n]", name);
    *out_length = v->dims[1];
    return NULL;
}

static col_status check_plan(generator *g)
{
    const col_plan *plan = g->plan;
    if (strcmp(plan->use, "generate")) {
        return col_error_make(COL_BAD_INPUT,
                              "it is a plan for '%s', not for generating text: give the model to "
                              "'colc generate'",
                              plan->use);
    }
    for (size_t i = 0; i < plan->n_variables; i++) {
        const col_plan_variable *v = plan->variables[i];
        if (strncmp(v->name, "cache.", 6)) continue;
        if (v->n_dims < 2 || (g->context && v->dims[1] != g->context))
            return col_error_make(COL_BAD_INPUT, "the cache '%s' has another length than the others",
                                  v->name);
        g->context = v->dims[1];
    }
    if (!g->context) return col_error_make(COL_BAD_INPUT, "the plan has no key-value cache");
    int64_t one = 0;
    COL_TRY(check_input(g, "prefill.input_ids", &g->chunk));
    COL_TRY(check_input(g, "decode.input_ids", &one));
    const col_plan_program *decode = col_plan_find_program(plan, "decode");
    const col_plan_output *logits = decode ? col_plan_find_output(decode, "logits") : NULL;
    if (one != 1 || !logits || !logits->view->n_dims || logits->view->dtype != COL__PLAN__DTYPE__F32 ||
        !col_plan_find_program(plan, "prefill") || g->chunk > g->context) {
        return col_error_make(COL_BAD_INPUT,
                              "the plan's programs prefill and decode are not those of text generation");
    }
    g->vocab = col_plan_numel(logits->view->n_dims, logits->view->dims);
    g->logits = col_arena_alloc_array(g->arena, (size_t)g->vocab, sizeof *g->logits);
    g->candidates = col_arena_alloc_array(g->arena, (size_t)g->vocab, sizeof *g->candidates);
    return NULL;
}

static col_status open_text(generator *g, const col_options *options)
{
    const char *text = NULL;
    size_t size = 0;
    COL_TRY(read_prompt(options, g->arena, &text, &size));
    const char *name =
        g->settings.tokenizer ? g->settings.tokenizer : col_tokens_of_weights(g->arena, g->settings.weights);
    int64_t bound = col_plan_find_variable(g->plan, "decode.input_ids")->index_bound;
    COL_TRY(col_tokens_open(name, bound ? bound : g->vocab, true, &g->tokenizer));
    col_encoder *encoder = col_encoder_create(g->tokenizer);
    col_status status =
        col_encoder_encode(encoder, COL_SPECIALS_PARSED, text, size, g->arena, &g->prompt, &g->prompt_count);
    col_encoder_destroy(encoder);
    if (status) return status;
    if (!g->prompt_count && col_tokenizer_end_of_text(g->tokenizer) >= 0) {
        /* Nothing to go on: the start of a document. */
        g->prompt = COL_NEW(g->arena, int32_t);
        *g->prompt = col_tokenizer_end_of_text(g->tokenizer);
        g->prompt_count = 1;
    } else if (!g->prompt_count) {
        return col_error_make(COL_BAD_INPUT,
                              "the prompt is empty, and the tokenizer has no token for the start of a text");
    }
    if ((int64_t)g->prompt_count <= g->context) return NULL;
    return col_error_make(COL_BAD_INPUT,
                          "the prompt has %zu tokens, the model's context %lld: give a shorter one",
                          g->prompt_count, (long long)g->context);
}

static col_status run_program(generator *g, const char *program, const int32_t *ids, int64_t count,
                              int64_t position)
{
    const char *input = count == 1 && !strcmp(program, "decode") ? "decode.input_ids" : "prefill.input_ids";
    COL_TRY(col_session_write(g->session, input, ids, (uint64_t)count * sizeof *ids));
    COL_TRY(col_session_set_i32(g->session, "position", (int32_t)position));
    return col_session_run(g->session, program);
}

/* Positions [0, count) of the prompt. */
static col_status prefill(generator *g, int64_t count)
{
    int32_t *ids = col_arena_alloc_array(g->arena, (size_t)g->chunk, sizeof *ids);
    for (int64_t start = 0; start < count; start += g->chunk) {
        int64_t at = COL_MIN(start, g->context - g->chunk);
        int64_t real = COL_MIN(count - at, g->chunk);
        memset(ids, 0, (size_t)g->chunk * sizeof *ids);
        memcpy(ids, g->prompt + at, (size_t)real * sizeof *ids);
        COL_TRY(run_program(g, "prefill", ids, g->chunk, at));
    }
    return NULL;
}

/* Text that could not be printed ends the command: whoever read it is gone. */
static col_status print_pending(generator *g)
{
    size_t size = g->pending.len;
    bool written = fwrite(col_str_text(&g->pending), 1, size, stdout) == size && !fflush(stdout);
    col_str_clear(&g->pending);
    return written ? NULL : col_error_from_errno(errno, "cannot write the text");
}

static col_status print_token(generator *g, int32_t id)
{
    size_t size;
    const unsigned char *bytes = col_tokenizer_token(g->tokenizer, id, &size);
    if (bytes) col_utf8_stream_push(&g->text, bytes, size, &g->pending);
    return print_pending(g);
}

/* The token at `position` goes in; the choice for the next one comes out. */
static col_status choose(generator *g, int32_t token, int64_t position, int64_t index, int32_t *out)
{
    double start = col_seconds();
    COL_TRY(run_program(g, "decode", &token, 1, position));
    COL_TRY(col_session_output(g->session, "decode", "logits", g->logits,
                               (uint64_t)g->vocab * sizeof *g->logits));
    /* Rows of the model's table beyond the tokenizer's last id are padding. */
    size_t count = (size_t)COL_MIN(g->vocab, (int64_t)col_tokenizer_size(g->tokenizer));
    *out = col_sample(g->logits, count, &g->settings.sample, (uint64_t)index, g->candidates);
    g->decode_seconds += col_seconds() - start;
    g->decodes++;
    if (*out >= 0) return NULL;
    const char *op = NULL;
    COL_TRY(col_session_find_non_finite(g->session, "decode", &op));
    return col_error_make(COL_BAD_INPUT,
                          "the logits at position %lld are not finite%s%s%s: are the weights whole?",
                          (long long)position, op ? ", first in the op '" : "", op ? op : "", op ? "'" : "");
}

static col_status generate(generator *g)
{
    int32_t end = col_tokenizer_end_of_text(g->tokenizer), token = g->prompt[g->prompt_count - 1];
    int64_t position = (int64_t)g->prompt_count - 1, made = 0;
    bool full = false;
    for (size_t i = 0; g->settings.echo && i < g->prompt_count; i++) {
        if (g->prompt[i] != end) COL_TRY(print_token(g, g->prompt[i]));
    }
    COL_TRY(prefill(g, position));
    for (; made < g->settings.max_tokens; made++, position++) {
        full = position >= g->context;
        if (full) break;
        COL_TRY(choose(g, token, position, made, &token));
        if (token == end) break;
        COL_TRY(print_token(g, token));
    }
    col_utf8_stream_finish(&g->text, &g->pending);
    col_str_append(&g->pending, "\n");
    COL_TRY(print_pending(g));
    if (full) {
        fprintf(stderr, "notice: stopped after %lld tokens: the model's context of %lld is full\n",
                (long long)made, (long long)g->context);
    }
    return NULL;
}

static void print_stats(generator *g)
{
    if (!g->settings.stats || !g->decodes) return;
    double each = g->decode_seconds / (double)g->decodes;
    uint64_t bytes;
    double floor = col_weights_read_seconds(g->session, &bytes);
    char human[COL_HUMAN_SIZE], time[COL_HUMAN_SIZE], best[COL_HUMAN_SIZE];
    fprintf(stderr, "%lld tokens, %.2f tokens/s, %s a token\n", (long long)g->decodes, 1 / each,
            col_format_seconds(time, each));
    if (floor > 0)
        fprintf(stderr, "reading the weights once (%s) takes %s, %.1f GB/s: %.2f x that a token\n",
                col_format_bytes(human, (double)bytes), col_format_seconds(best, floor),
                1e-9 * (double)bytes / floor, each / floor);
}

static col_status open_and_generate(generator *g, const char *plan_path, const col_options *options)
{
    COL_TRY(read_settings(options, &g->settings));
    COL_TRY(col_session_open(plan_path, &g->settings.session, &g->session));
    g->plan = col_session_plan(g->session);
    COL_TRY(col_error_annotate(check_plan(g), "'%s'", plan_path));
    COL_TRY(open_text(g, options));
    COL_TRY(col_tensors_load_weights(g->session, g->settings.weights));
    COL_TRY(generate(g));
    print_stats(g);
    return NULL;
}

col_status col_command_generate(const char *plan_path, const col_options *options)
{
    generator g = {.arena = col_arena_create()};
    col_status status = open_and_generate(&g, plan_path, options);
    col_str_fini(&g.pending);
    col_tokenizer_destroy(g.tokenizer);
    status = col_session_end(g.session, status);
    col_arena_destroy(g.arena);
    return status;
}
