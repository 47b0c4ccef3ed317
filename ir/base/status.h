/* Must-use status values.
 *
 * A function that can fail returns a `col_status`: NULL when all went well, otherwise an error that the
 * caller either passes on (COL_TRY), reports or frees. The code of an error is the exit status that the
 * programs end with, so a failure keeps its class from where it arose to the shell.
 *
 * Two classes only reach a user: bad input (2, and the results 3 and 4), which explain what to mend; and
 * internal bugs, which end the process through COL_ASSERT with the place in our source. */
#ifndef COL_BASE_STATUS_H
#define COL_BASE_STATUS_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COL_MUST_USE          __attribute__((warn_unused_result))
#define COL_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* Values are the exit statuses of the programs. */
typedef enum col_code {
    COL_OK = 0,
    COL_INTERNAL = 1,   /* a bug of ours; prefer COL_ASSERT where no caller can act on it */
    COL_BAD_INPUT = 2,  /* a file, a flag or a value that the user can mend */
    COL_INFEASIBLE = 3, /* the question has no answer; the message names the nearest that has */
    COL_DEVICE = 4,     /* device, disk or communication failure */
} col_code;

typedef struct col_error *col_status;

/* Makes an error with a formatted message (no trailing newline, no "error:" prefix). Never returns NULL. */
COL_MUST_USE col_status col_error_make(col_code code, const char *format, ...) COL_PRINTF(2, 3);
COL_MUST_USE col_status col_error_make_v(col_code code, const char *format, va_list args);

/* As above, with the system's words for `errno_value` appended; code is COL_DEVICE for a full disk or a
 * failing device (ENOSPC, EDQUOT, EIO, EROFS, EFBIG, ENOMEM) and COL_BAD_INPUT otherwise. */
COL_MUST_USE col_status col_error_from_errno(int errno_value, const char *format, ...) COL_PRINTF(2, 3);

/* Puts "context: " before the message. Takes and returns ownership; NULL passes through. */
COL_MUST_USE col_status col_error_annotate(col_status status, const char *format, ...) COL_PRINTF(2, 3);

/* Keeps the first failure and frees the second: for clean-up paths. */
COL_MUST_USE col_status col_error_join(col_status first, col_status second);

col_code col_error_code(col_status status);       /* COL_OK for NULL */
const char *col_error_message(col_status status); /* "" for NULL; owned by the status */
void col_error_free(col_status status);           /* NULL is fine */
/* Frees the error on purpose, where failing is an accepted outcome. Returns whether there was one. */
bool col_error_ignore(col_status status);

#define COL_TRY(expr)                                                                                        \
    do {                                                                                                     \
        col_status col_try_status_ = (expr);                                                                 \
        if (col_try_status_) return col_try_status_;                                                         \
    } while (0)

/* Internal bugs: prints the place and what is known, then ends the process with COL_INTERNAL; under
 * sanitizers and fuzzers it aborts, which they report with a stack. Always on, also in release builds. */
_Noreturn void col_panic(const char *file, int line, const char *format, ...) COL_PRINTF(3, 4);
#define COL_PANIC(...) col_panic(__FILE__, __LINE__, __VA_ARGS__)
#define COL_ASSERT(condition)                                                                                \
    do {                                                                                                     \
        if (!(condition)) col_panic(__FILE__, __LINE__, "assertion failed: %s", #condition);                 \
    } while (0)

/* Memory that cannot be had, where no caller could go on with less: says so and ends the process with
 * COL_DEVICE. `bytes` is what was asked for; 0: not known. */
_Noreturn void col_out_of_memory(size_t bytes);

#define COL_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define COL_MIN(a, b)    ((a) < (b) ? (a) : (b))
#define COL_MAX(a, b)    ((a) > (b) ? (a) : (b))

#endif
