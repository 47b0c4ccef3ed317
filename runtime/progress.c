#include "runtime/progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ir/base/str.h"

/* Columns of the terminal; 0: there is none. What mpirun gives its processes, wherever their output goes, is a
 * terminal without columns. */
static int columns(void)
{
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) ? 0 : size.ws_col;
}

void col_progress_start(col_progress *p, int64_t total, bool quiet)
{
    *p = (col_progress){.quiet = quiet, .terminal = columns() > 1, .total = total};
}

/* "1h02m", "3m07s", "12s" */
static void print_time(col_str *out, double seconds)
{
    long long s = (long long)(seconds + 0.5);
    if (s >= 3600)
        col_str_printf(out, "%lldh%02lldm", s / 3600, s / 60 % 60);
    else if (s >= 60)
        col_str_printf(out, "%lldm%02llds", s / 60, s % 60);
    else
        col_str_printf(out, "%llds", s);
}

/* A line that wraps cannot be rewritten. */
static void cut_to_width(col_str *line)
{
    size_t width = (size_t)columns();
    if (!width || line->len < width) return;
    line->len = width - 1;
    line->data[line->len] = 0;
}

void col_progress_show(col_progress *p, const col_progress_step *s)
{
    if (p->quiet) return;
    double weight = p->seconds_per_step > 0 ? 0.1 : 1;
    p->seconds_per_step += weight * (s->seconds - p->seconds_per_step);
    col_str line = {0};
    col_str_printf(&line, "step %lld/%lld  loss %.6f  lr %.3e  grad_norm %.4f  %.0f %s/s", (long long)s->step,
                   (long long)p->total, s->loss, s->lr, s->grad_norm, s->units_per_second, s->unit);
    if (s->loss_scale > 0)
        col_str_printf(&line, "  scale %g%s", s->loss_scale, s->skipped ? " overflows: skipped" : "");
    if (s->has_val_loss) col_str_printf(&line, "  val_loss %.6f", s->val_loss);
    if (s->step < p->total) {
        col_str_append(&line, "  eta ");
        print_time(&line, p->seconds_per_step * (double)(p->total - s->step));
    }
    /* A line with a validation loss stays; the others are overwritten by the next. */
    bool stays = !p->terminal || s->has_val_loss;
    if (!stays) cut_to_width(&line);
    printf("%s%s%s", p->terminal ? "\r\033[K" : "", line.data, stays ? "\n" : "");
    fflush(stdout);
    p->open_line = !stays;
    col_str_fini(&line);
}

void col_progress_say(col_progress *p, const char *format, ...)
{
    if (p->quiet) return;
    col_progress_end(p);
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    fflush(stdout);
}

void col_progress_end(col_progress *p)
{
    if (p->open_line) {
        printf("\n");
        fflush(stdout);
    }
    p->open_line = false;
}
