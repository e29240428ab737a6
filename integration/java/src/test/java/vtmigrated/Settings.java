package vtmigrated;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;

/** What integration/java/run tells the tests. */
final class Settings {
  private Settings() {}

  /** A system property that must be there. */
  static String require(String name) {
    var value = System.getProperty(name);
    if (value == null || value.isEmpty()) {
      throw new IllegalStateException("-D" + name + " is not set: start the tests with integration/java/run");
    }
    return value;
  }

  /** The addresses of the running programs, as integration-lab prints them. */
  static JsonObject lab() {
    return JsonParser.parseString(require("lab")).getAsJsonObject();
  }
}
