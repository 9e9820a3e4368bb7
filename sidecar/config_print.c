/* What the table of settings prints: sample, reference, man page. */

#include "config.h"

#include <stdio.h>
#include <string.h>

#include "config_table.h"


/* One sentence in lines of at most 76 columns behind "# ". */
static void
config_print_wrapped(const char *text)
{
    int  column = 0, n;

    for ( /* void */ ; *text != '\0'; text += n, text += strspn(text, " ")) {
        n = (int) strcspn(text, " ");

        if (column == 0 || column + 1 + n > 78) {
            (void) printf("%s# %.*s", column == 0 ? "" : "\n", n, text);
            column = n + 2;

        } else {
            (void) printf(" %.*s", n, text);
            column += n + 1;
        }
    }

    (void) printf("\n");
}


void
config_print_sample(void)
{
    const struct config_key  *k;

    (void) printf("# integrationd.conf: every key with its default.  A key is "
        "overridden by\n# the environment variable INTEGRATIOND_<KEY>.\n");

    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        k = &config_keys[i];
        (void) printf("\n");
        config_print_wrapped(k->sentence);

        if (k->text == NULL) {
            (void) printf("# %s = \"\"\n", k->name);

        } else {
            (void) printf("%s = \"%s\"\n", k->name, k->text);
        }
    }
}


static const char *const  config_type_words[] = {
    [CONFIG_TEXT] = "text", [CONFIG_OPTIONAL] = "text",
    [CONFIG_INT] = "number", [CONFIG_SIZE] = "size", [CONFIG_TIME] = "time",
    [CONFIG_ROLES] = "list", [CONFIG_WORD] = "word"
};


void
config_print_reference(void)
{
    const struct config_key  *k;
    char                      min[32], max[32];

    (void) printf("| key | type | default | reload | meaning |\n"
        "|---|---|---|---|---|\n");

    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        k = &config_keys[i];
        (void) printf("| `%s` | %s", k->name, config_type_words[k->type]);

        if (k->max != 0) {
            config_show(k, k->min, min, sizeof(min));
            config_show(k, k->max, max, sizeof(max));
            (void) printf(" %s..%s", min, max);

        } else if (k->words != NULL) {
            (void) printf(": ");
            for (const char *p = k->words; *p != '\0'; p++) {
                (void) (*p == '|' ? printf(", ") : putchar(*p));
            }
        }

        (void) printf(" | %s%s%s | %s | %s |\n", k->text == NULL ? "" : "`",
            k->text == NULL ? "-" : k->text, k->text == NULL ? "" : "`",
            k->reload ? "yes" : "no", k->sentence);
    }
}


/* Text in mdoc: no line begins with a control character. */
static void
config_print_mdoc(const char *text)
{
    (void) printf("%s", *text == '.' || *text == '\'' ? "\\&" : "");

    for ( /* void */ ; *text != '\0'; text++) {
        if (text[0] == '.' && text[1] == ' ') {
            (void) printf(".\n");          /* a sentence ends its line */
            text += strspn(text, ". ") - 1;

        } else {
            (void) (*text == '\\' ? printf("\\e") : putchar(*text));
        }
    }

    (void) printf("\n");
}


void
config_print_man(void)
{
    const struct config_key  *k;
    char                      min[32], max[32];

    for (k = config_keys; k < config_keys + CONFIG_KEYS; k++) {
        (void) printf(".It Ic %s\n", k->name);
        config_print_mdoc(k->sentence);

        if (k->text != NULL) {
            (void) printf("Default:\n.Ql %s .\n", k->text);
        }

        if (k->max != 0) {
            config_show(k, k->min, min, sizeof(min));
            config_show(k, k->max, max, sizeof(max));
            (void) printf("From %s to %s.\n", min, max);
        }

        if (k->reload) {
            (void) printf("Taken over by\n.Dv SIGHUP .\n");
        }
    }
}
