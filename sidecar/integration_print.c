/* The table of fields as members of a schema of sidecar/openapi.yaml. */

#include "integration.h"

#include <stdio.h>
#include <string.h>

#include "integration_private.h"


/* Every sentence of the table is a YAML scalar in quotes. */
static void
print_quoted(const char *key, const char *text)
{
    (void) printf("          %s: \"", key);

    for ( ; *text != '\0'; text++) {
        (void) printf(*text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
    }

    (void) printf("\"\n");
}


static void
print_number(const struct field *f)
{
    (void) printf("          type: integer\n          minimum: %lld\n",
        (long long) f->min);

    if (f->max != INT64_MAX) {
        (void) printf("          maximum: %lld\n", (long long) f->max);
    }

    if (f->standard != NULL) {
        (void) printf("          default: %s\n", f->standard);
    }
}


static void
print_word(const struct field *f)
{
    (void) printf("          enum: [");

    for (const char *p = f->words; ; p++) {
        size_t  n = strcspn(p, "|");

        (void) printf("\"%.*s\"", (int) n, p);
        p += n;

        if (*p == '\0') {
            break;
        }

        (void) printf(", ");
    }

    (void) printf("]\n          default: \"%s\"\n", f->standard);
}


static void
print_text(const struct field *f)
{
    (void) printf("          type: string\n");

    if (f->min > 0) {
        (void) printf("          minLength: %lld\n", (long long) f->min);
    }

    (void) printf("          maxLength: %lld\n", (long long) f->max);

    if (f->standard != NULL && f->standard[0] != '\0') {
        (void) printf("          default: \"%s\"\n", f->standard);
    }
}


void
integration_print_openapi(void)
{
    for (size_t i = 0; i < INTEGRATION_FIELDS; i++) {
        const struct field  *f = &integration_fields[i];

        (void) printf("        %s:\n", f->name);
        print_quoted("description", f->help);

        switch (f->type) {
        case F_INT:
            print_number(f);
            break;
        case F_BOOL:
            (void) printf("          type: boolean\n          default: %s\n",
                f->standard);
            break;
        case F_WORD:
            print_word(f);
            break;
        case F_SECRET:
            (void) printf("          oneOf:\n"
                "            - { type: string, maxLength: %lld }\n"
                "            - { $ref: \"#/components/schemas/SecretSet\" }\n",
                (long long) f->max);
            break;
        default:
            print_text(f);
            break;
        }
    }
}
