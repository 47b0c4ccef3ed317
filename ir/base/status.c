#define _GNU_SOURCE /* program_invocation_short_name */
#include "ir/base/status.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct col_error {
    col_code code;
    char message[]; /* NUL-terminated */
};

_Noreturn void col_panic(const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s:%d: internal error: ", file, line);
    vfprintf(stderr, format, args);
    fputs("\nThis is a bug in colc; please report it with the command and the input.\n", stderr);
    va_end(args);
    fflush(stderr);
#if COL_PANIC_ABORTS
    abort();
#else
    _Exit(COL_INTERNAL);
#endif
}

_Noreturn void col_out_of_memory(size_t bytes)
{
    const char *remedy = "give the process more, or take a smaller model, batch or problem";
    if (bytes)
        fprintf(stderr, "%s: error: out of memory for %zu bytes: %s\n", program_invocation_short_name, bytes,
                remedy);
    else
        fprintf(stderr, "%s: error: out of memory: %s\n", program_invocation_short_name, remedy);
    fflush(stderr);
    _Exit(COL_DEVICE);
}

static col_status make_sized(col_code code, size_t size)
{
    col_status status = malloc(sizeof *status + size + 1);
    if (!status) col_out_of_memory(0);
    status->code = code;
    status->message[0] = '\0';
    return status;
}

col_status col_error_make_v(col_code code, const char *format, va_list args)
{
    COL_ASSERT(code != COL_OK);
    va_list again;
    va_copy(again, args);
    int size = vsnprintf(NULL, 0, format, again);
    va_end(again);
    COL_ASSERT(size >= 0);
    col_status status = make_sized(code, (size_t)size);
    vsnprintf(status->message, (size_t)size + 1, format, args);
    return status;
}

col_status col_error_make(col_code code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    col_status status = col_error_make_v(code, format, args);
    va_end(args);
    return status;
}

static bool is_device_errno(int value)
{
    return value == ENOSPC || value == EDQUOT || value == EIO || value == EROFS || value == EFBIG ||
           value == ENOMEM;
}

col_status col_error_from_errno(int errno_value, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    col_code code = is_device_errno(errno_value) ? COL_DEVICE : COL_BAD_INPUT;
    col_status context = col_error_make_v(code, format, args);
    va_end(args);
    col_status status = col_error_make(code, "%s: %s", context->message, strerror(errno_value));
    col_error_free(context);
    return status;
}

col_status col_error_annotate(col_status status, const char *format, ...)
{
    if (!status) return NULL;
    va_list args;
    va_start(args, format);
    col_status context = col_error_make_v(status->code, format, args);
    va_end(args);
    col_status joined = col_error_make(status->code, "%s: %s", context->message, status->message);
    col_error_free(context);
    col_error_free(status);
    return joined;
}

col_status col_error_join(col_status first, col_status second)
{
    if (!first) return second;
    col_error_free(second);
    return first;
}

col_code col_error_code(col_status status)
{
    return status ? status->code : COL_OK;
}

const char *col_error_message(col_status status)
{
    return status ? status->message : "";
}

void col_error_free(col_status status)
{
    free(status);
}

bool col_error_ignore(col_status status)
{
    bool failed = status != NULL;
    col_error_free(status);
    return failed;
}
