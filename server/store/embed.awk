# embed.awk: schema/sql/NNN_*.sql, in order, as one C table; a file's number is the user_version it leads to.
BEGIN {
    print "/* Made from schema/sql by embed.awk; not to be edited. */"
    print "#include \"store/migrate.h\"\n"
    print "const qd_migration qd_migrations[] = {"
}
FNR == 1 {
    if (NR > 1)
        print "    },"
    n = split(FILENAME, path, "/")
    file = path[n]
    printf "    {\n        .version = %d,\n        .name = \"%s\",\n        .sql =\n", substr(file, 1, 3) + 0, file
}
{
    gsub(/\\/, "\\\\")
    gsub(/"/, "\\\"")
    print "            \"" $0 "\\n\""
}
END {
    print "    },\n};"
    print "const size_t qd_migration_count = sizeof qd_migrations / sizeof qd_migrations[0];"
}
