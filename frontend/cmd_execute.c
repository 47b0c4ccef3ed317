/* colc train, generate, run: compile if given a model, then become colrun on the plan. colc probe: become
 * colrun.
 *
 * Plans compiled here are kept in a cache, so that a second run starts at once:
 * $XDG_CACHE_HOME/colc/HASH.plan (default ~/.cache/colc), where HASH is of the model's text, of every option
 * that compiling depends on, and of the program itself. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "frontend/commands.h"
#include "frontend/compile.h"
#include "frontend/onnx/run.h"
#include "frontend/probe_models.h"
#include "frontend/program.h"
#include "frontend/report.h"
#include "frontend/unnamed.h"
#include "ir/base/file.h"
#include "ir/plan/plan_io.h"
#include "runtime/command_options.h"

typedef struct executed {
    const char *name;
    col_use use;
    const col_command_spec *spec; /* the options that are colrun's own */
} executed;

static executed find_executed(const char *name)
{
    static const struct {
        const char *name;
        col_use use;
    } uses[] = {{"train", COL_USE_TRAIN}, {"generate", COL_USE_GENERATE}, {"run", COL_USE_FORWARD}};
    size_t i = 0;
    while (strcmp(uses[i].name, name)) i++;
    const col_command_spec *spec = col_command_spec_find(name);
    COL_ASSERT(spec);
    return (executed){name, uses[i].use, spec};
}

/* `file` is the model or plan that the user named: its bytes (or the text that it was imported as), and the
 * options, are what the plan depends on. */
static col_status cache_path(const col_options *options, const col_compile_options *compile_options,
                             const char *file, const executed *what, const char *program, col_arena *arena,
                             const char **out_path)
{
    char *text;
    size_t size;
    struct stat self = {0};
    if (compile_options->source) {
        text = col_arena_strndup(arena, compile_options->source->text, compile_options->source->size);
        size = compile_options->source->size;
    } else {
        COL_TRY(col_file_read(arena, file, 0, &text, &size));
    }
    XXH3_state_t *state = XXH3_createState();
    if (!state) col_out_of_memory(0);
    XXH3_64bits_reset(state);
    XXH3_64bits_update(state, text, size);
    XXH3_64bits_update(state, what->name, strlen(what->name) + 1);
    for (size_t i = 0; i < options->values.len; i++) {
        const col_option_value *v = &options->values.data[i];
        if (!col_compile_has_option(v->option) || !strcmp(v->option->name, "recipe")) continue;
        XXH3_64bits_update(state, v->option->name, strlen(v->option->name) + 1);
        XXH3_64bits_update(state, v->value, strlen(v->value) + 1);
    }
    XXH3_64bits_update(state, &compile_options->machine, sizeof compile_options->machine); /* may be a file */
    for (size_t i = 0; i < compile_options->fed_count; i++) {
        XXH3_64bits_update(state, compile_options->fed[i], strlen(compile_options->fed[i]) + 1);
    }
    if (!stat(program, &self)) {
        XXH3_64bits_update(state, &self.st_size, sizeof self.st_size);
        XXH3_64bits_update(state, &self.st_mtim, sizeof self.st_mtim);
    }
    int level = (__builtin_cpu_supports("avx2") ? 1 : 0) + (__builtin_cpu_supports("avx512f") ? 2 : 0);
    XXH3_64bits_update(state, &level, sizeof level);
    unsigned long long hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (cache && *cache == '/')
        *out_path = col_arena_printf(arena, "%s/colc/%016llx.plan", cache, hash);
    else if (home && *home == '/')
        *out_path = col_arena_printf(arena, "%s/.cache/colc/%016llx.plan", home, hash);
    else
        *out_path = NULL;
    return NULL;
}

static col_status write_cached(const col_plan *plan, const char *path, col_arena *arena)
{
    if (!path) return col_error_make(COL_BAD_INPUT, "neither XDG_CACHE_HOME nor HOME names a folder");
    char *folder = col_arena_strdup(arena, path);
    *strrchr(folder, '/') = '\0';
    COL_TRY(col_make_folder(folder));
    return col_plan_write(plan, path);
}

/* For this run alone: no other user can put another plan, which is code, in its place. */
static col_status write_unnamed(const col_plan *plan, const char **out_path, col_arena *arena)
{
    char *path;
    COL_TRY(col_unnamed_begin(arena, &path));
    return col_unnamed_end(col_plan_write(plan, path), path, arena, out_path);
}

/* Writes the plan into the cache, or for this run alone where that cannot be written. */
static col_status keep_plan(const col_plan *plan, const char **path, col_arena *arena)
{
    col_status status = write_cached(plan, *path, arena);
    if (!status) return NULL;
    fprintf(stderr, "notice: the plan cannot be cached and is compiled each time: %s\n",
            col_error_message(status));
    col_error_free(status);
    return write_unnamed(plan, path, arena);
}

/* The names in --input NAME=FILE. */
static void read_fed(const col_options *options, col_arena *arena, col_compile_options *out)
{
    COL_VEC(const char *) names = {0};
    for (size_t i = 0; i < options->values.len; i++) {
        const col_option_value *v = &options->values.data[i];
        const char *equals = strchr(v->value, '=');
        if (strcmp(v->option->name, "input") || !equals) continue;
        const char *name = col_arena_strndup(arena, v->value, (size_t)(equals - v->value));
        col_vec_push(arena, &names, name);
    }
    out->fed = names.data;
    out->fed_count = names.len;
}

/* A plan carries its options: others would have no effect. Those of a recipe are there for other commands,
 * too. */
static col_status refuse_options(const col_options *options, const char *plan)
{
    for (size_t i = 0; i < options->values.len && !col_options_has(options, "recipe"); i++) {
        const col_option *option = options->values.data[i].option;
        if (!col_compile_has_option(option)) continue;
        return col_error_make(COL_BAD_INPUT,
                              "'%s' is a plan, which --%s no longer changes: give the model instead", plan,
                              option->name);
    }
    return NULL;
}

static bool is_cached(const char *path)
{
    col_plan *plan = NULL;
    if (!path || !col_file_exists(path) || col_error_ignore(col_plan_read(path, &plan))) return false;
    col_plan_free(plan);
    return true;
}

/* Waits until no other process compiles for this place in the cache: the ranks that mpirun starts must all
 * have one plan. Returns a descriptor for unlock_cached; -1 where the cache cannot be written. */
static int lock_cached(const char *path, const char *lock, col_arena *arena)
{
    char *folder = col_arena_strdup(arena, path);
    *strrchr(folder, '/') = '\0';
    if (col_error_ignore(col_make_folder(folder))) return -1;
    for (;;) {
        struct stat ours, there;
        int file = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (file < 0) return -1;
        bool is_locked = !flock(file, LOCK_EX);
        bool again = is_locked || errno == EINTR;
        /* Who had it before may have removed the file that was waited for. */
        if (is_locked && !fstat(file, &ours) && !stat(lock, &there) && ours.st_ino == there.st_ino)
            return file;
        close(file);
        if (!again) return -1;
    }
}

static void unlock_cached(const char *lock, int file)
{
    if (file < 0) return;
    unlink(lock);
    close(file);
}

/* Compiles, unless the cache has the plan already. `*out_plan` is NULL when --stop-after ended it. */
static col_status compile_cached(const executed *what, const col_options *options,
                                 const col_compile_options *compile_options, const char *file,
                                 const char *program, col_arena *arena, const char **out_plan)
{
    COL_TRY(cache_path(options, compile_options, file, what, program, arena, out_plan));
    bool wants_text = compile_options->print_after || compile_options->stop_after ||
                      compile_options->dump_dir || compile_options->time_passes;
    if (!wants_text && is_cached(*out_plan)) return NULL;
    const char *lock = *out_plan ? col_arena_printf(arena, "%s.lock", *out_plan) : NULL;
    int locked = lock && !wants_text ? lock_cached(*out_plan, lock, arena) : -1;
    col_plan *plan = NULL;
    col_status status = NULL;
    if (locked < 0 || !is_cached(*out_plan)) {
        status = col_compile(compile_options, arena, &plan);
        if (!status && plan)
            status = keep_plan(plan, out_plan, arena);
        else
            *out_plan = NULL;
    }
    unlock_cached(lock, locked);
    return status;
}

/* ONNX files among the model and its inputs become what the compiler and `colrun` read. `*out_done`: nothing is
 * left to run, since no output of the model has elements. */
static col_status convert_files(const executed *what, const char *file, col_options *options,
                                col_arena *arena, const col_source **out_source, bool *out_done)
{
    *out_source = NULL;
    *out_done = false;
    if (col_onnx_is_named(file, ".onnx")) {
        if (what->use != COL_USE_FORWARD) {
            return col_error_make(COL_BAD_INPUT,
                                  "'%s' can only be run: to %s it, make it a model with 'colc import onnx'",
                                  file, what->name);
        }
        COL_TRY(col_onnx_run_model(file, options, arena, out_source));
        *out_done = !*out_source;
    }
    return col_onnx_run_inputs(options, arena);
}

/* A plan of the same use is run as it is; one of another use is compiled again from the model that it
 * carries. */
static col_status find_plan(const executed *what, const col_options *options, const char *file,
                            const col_source *source, const char *program, col_arena *arena,
                            const char **out_plan)
{
    col_compile_options compile_options = {.model_path = file, .source = source, .use = what->use};
    col_plan *given = NULL;
    if (col_plan_is_file(file)) {
        COL_TRY(refuse_options(options, file));
        COL_TRY(col_plan_read(file, &given));
    }
    col_status status = given ? col_compile_options_of_plan(given, arena, &compile_options)
                              : col_compile_options_read(options, arena, &compile_options);
    if (!status && given && compile_options.use == what->use) {
        *out_plan = file;
    } else if (!status) {
        compile_options.use = what->use;
        read_fed(options, arena, &compile_options);
        status = compile_cached(what, options, &compile_options, file, program, arena, out_plan);
    }
    col_plan_free(given);
    return status;
}

/* Hands over to colrun, with the options that are its own; `plan` is NULL for a command without one. */
static col_status become_colrun(const col_command_spec *spec, const col_options *options, const char *folder,
                                const char *plan, col_arena *arena)
{
    char **argv = COL_NEW_ARRAY(arena, char *, 2 * options->values.len + 4);
    size_t n = 0;
    argv[n++] = col_arena_printf(arena, "%s/colrun", folder);
    argv[n++] = col_arena_strdup(arena, spec->name);
    if (plan) argv[n++] = col_arena_strdup(arena, plan);
    for (size_t i = 0; i < options->values.len; i++) {
        const col_option_value *v = &options->values.data[i];
        if (v->option < spec->options || v->option >= spec->options + spec->option_count) continue;
        argv[n++] = v->option->argument ? col_arena_printf(arena, "--%s=%s", v->option->name, v->value)
                                        : col_arena_printf(arena, "--%s", v->option->name);
    }
    fflush(NULL);
    execv(argv[0], argv);
    return col_error_from_errno(errno, "cannot start '%s', which should stand beside colc", argv[0]);
}

static col_status execute(const col_command *command, const executed *what, col_options *options,
                          col_arena *arena)
{
    const char *model, *folder, *program, *plan;
    const col_source *source;
    bool is_done;
    if (what->use == COL_USE_GENERATE) COL_TRY(col_compile_refuse_sizes(options));
    COL_TRY(col_compile_recipe(options, arena));
    COL_TRY(col_command_argument(command, options, &model));
    COL_TRY(col_program_place(arena, &folder, &program));
    COL_TRY(convert_files(what, model, options, arena, &source, &is_done));
    if (is_done) return NULL;
    COL_TRY(find_plan(what, options, model, source, program, arena, &plan));
    return plan ? become_colrun(what->spec, options, folder, plan, arena) : NULL;
}

col_status col_command_execute(const col_command *command, int argc, char **argv)
{
    executed what = find_executed(command->name);
    const col_option *tables[] = {what.spec->options, col_compile_option_table};
    size_t sizes[] = {what.spec->option_count, col_compile_option_count};
    col_arena *arena = col_arena_create();
    col_options options;
    col_status status = col_options_parse(tables, sizes, 2, argc, argv, arena, &options);
    if (!status && options.help) {
        col_command_help(command, tables, sizes, 2);
        if (what.spec->notes) printf("\n%s", what.spec->notes);
    } else if (!status) {
        status = execute(command, &what, &options, arena);
    }
    col_arena_destroy(arena);
    return status;
}

/* A device is measured by plans, which colrun gets as if the user had named them. */
static col_status add_probe_plans(const col_command_spec *spec, const char *target, col_options *options,
                                  col_arena *arena)
{
    const char *paths[COL_PROBE_PLANS];
    const col_option *plan = spec->options;
    while (strcmp(plan->name, "plan")) plan++;
    COL_TRY(col_probe_plans(target, arena, paths));
    for (int i = 0; i < COL_PROBE_PLANS; i++)
        col_vec_push(arena, &options->values, ((col_option_value){plan, paths[i]}));
    return NULL;
}

static col_status probe(const col_command *command, const col_command_spec *spec, col_options *options,
                        col_arena *arena)
{
    const char *folder;
    if (options->positionals.len)
        return col_error_make(COL_BAD_INPUT, "'%s' has no place here; usage: colc probe %s",
                              options->positionals.data[0], command->usage);
    COL_TRY(col_program_place(arena, &folder, NULL));
    const char *target = col_options_get(options, "target");
    if (target && !strcmp(target, "cuda") && !col_options_has(options, "plan"))
        COL_TRY(add_probe_plans(spec, target, options, arena));
    return become_colrun(spec, options, folder, NULL, arena);
}

col_status col_command_probe(const col_command *command, int argc, char **argv)
{
    const col_command_spec *spec = col_command_spec_find("probe");
    COL_ASSERT(spec);
    col_arena *arena = col_arena_create();
    col_options options;
    col_status status =
        col_options_parse(&spec->options, &spec->option_count, 1, argc, argv, arena, &options);
    if (!status && options.help) {
        col_command_help(command, &spec->options, &spec->option_count, 1);
        printf("\n%s", spec->notes);
    } else if (!status) {
        status = probe(command, spec, &options, arena);
    }
    col_arena_destroy(arena);
    return status;
}
