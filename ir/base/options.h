/* Command lines: options from a table, values checked for presence, help from the same table. */
#ifndef COL_BASE_OPTIONS_H
#define COL_BASE_OPTIONS_H

#include "ir/base/str.h"
#include "ir/base/vec.h"

typedef struct col_option {
    const char *name;     /* "memory" for --memory */
    const char *argument; /* what stands for the value in the help, "SIZE"; NULL: a flag without value */
    const char *help;     /* one line; NULL: not listed */
    bool repeats; /* may be given several times, and `--data a b c` takes all that follow up to the next
                     option */
} col_option;

typedef struct col_option_value {
    const col_option *option;
    const char *value; /* "" for a flag */
} col_option_value;

typedef struct col_options {
    COL_VEC(col_option_value) values; /* in the order given */
    COL_VEC(const char *) positionals;
    const col_option *const *tables; /* as given to col_options_parse */
    const size_t *sizes;
    size_t table_count;
    bool help; /* -h or --help was given: nothing else was checked */
} col_options;

/* Parses the arguments after the command's name. `tables` are searched in order. "--" ends the options.
 * COL_BAD_INPUT for an unknown option (with the nearest known), a missing or superfluous value, or one given
 * twice. */
COL_MUST_USE col_status col_options_parse(const col_option *const *tables, const size_t *sizes,
                                          size_t table_count, int argc, char *const *argv, col_arena *arena,
                                          col_options *out_options);

/* Adds a value unless the command line gave the option (recipes: flags win). */
void col_options_default(col_options *options, const col_option *option, const char *value, col_arena *arena);
const col_option *col_option_find(const col_option *const *tables, const size_t *sizes, size_t table_count,
                                  const char *name);

/* The option of that name which the command has; NULL: none. */
const col_option *col_options_known(const col_options *options, const char *name);

/* The value of an option that is given at most once; NULL when absent. */
const char *col_options_get(const col_options *options, const char *name);
bool col_options_has(const col_options *options, const char *name);

/* Numbers with a range, leaving `*value` when the option is absent. */
COL_MUST_USE col_status col_options_int(const col_options *options, const char *name, int64_t low,
                                        int64_t high, int64_t *value);
COL_MUST_USE col_status col_options_double(const col_options *options, const char *name, double low,
                                           double high, double *value);
/* One of a list of words, as its index; the error lists them. */
COL_MUST_USE col_status col_options_choice(const col_options *options, const char *name,
                                           const char *const *choices, size_t count, int *value);

/* Appends the table as aligned lines. */
void col_options_help(const col_option *table, size_t count, col_str *out);

#endif
