package vtmigrated;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Pattern;

/** The table of RPCs in docs/rpcs.md: which are served, which on a condition, which are forwarded. */
enum Route {
  NATIVE, CONDITIONAL, FORWARDED;

  private static final Pattern ROW = Pattern.compile("\\| (\\w+) \\| (native|native: .*; else forwarded|forwarded) \\|");

  /** The route of each RPC by its name. */
  static Map<String, Route> table() throws IOException {
    var routes = new TreeMap<String, Route>();
    for (String line : Files.readAllLines(Path.of("../../docs/rpcs.md"))) {
      var row = ROW.matcher(line);
      if (row.matches()) {
        var route = switch (row.group(2)) {
          case "native" -> NATIVE;
          case "forwarded" -> FORWARDED;
          default -> CONDITIONAL;
        };
        routes.put(row.group(1), route);
      }
    }
    return routes;
  }
}
